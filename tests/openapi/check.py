"""The description of the API against a real host: linted, tried by examples, and made into clients of every operation."""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from host import Host

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TOOLS = ROOT / "target" / "openapi"
PYTHON = TOOLS / "python" / "bin"
NODE = TOOLS / "node_modules" / ".bin"

# What is drawn for the same seed is the same at every run, so a failure can be repeated.
SEED = 20261130


def main():
    asked = arguments()
    steps = {"lint": lint, "clients": clients, "examples": examples}
    with tempfile.TemporaryDirectory(prefix="backroom-openapi-") as folder:
        folder = pathlib.Path(folder)
        for name, step in steps.items():
            if asked.only in (None, name):
                started = time.monotonic()
                place = folder / name
                place.mkdir()
                with Host(ROOT, place / "host") as host:
                    step(host, place, asked)
                print(f"openapi: {name} ok ({time.monotonic() - started:.0f}s)", flush=True)


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--examples", type=int, default=6, help="how many requests of each kind are drawn for an operation")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--only", choices=["lint", "clients", "examples"])
    return parser.parse_args()


def run(command, seconds, **more):
    """Runs a tool to its end, within bounds; its output is shown when it does not end well."""
    command = [str(part) for part in command]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True, **more
    )
    try:
        said, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        sys.exit(f"{said}\nopenapi: not ended after {seconds} seconds: {' '.join(command)}")
    if process.returncode != 0:
        sys.exit(f"{said}\nopenapi: ended with {process.returncode}: {' '.join(command)}")
    return said


def described(host, folder):
    """The description as a file, and the ids of its operations."""
    document = host.json("GET", "/openapi.json")
    file = folder / "openapi.json"
    file.write_text(json.dumps(document, indent=1))
    operations = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    return file, operations


def lint(host, folder, _asked):
    file, _ = described(host, folder)
    quiet = {**os.environ, "REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true", "NO_COLOR": "1"}
    said = run([NODE / "redocly", "lint", "--config", HERE / "redocly.yaml", file], 60, env=quiet)
    if "warning" in said.lower().replace("no warnings", ""):
        sys.exit(f"{said}\nopenapi: the linter warns")


def examples(host, folder, asked):
    command = [
        PYTHON / "schemathesis", "--config-file", HERE / "schemathesis.toml", "run", f"{host.url}/openapi.json",
        "--url", host.url, "--checks", "all", "--max-examples", asked.examples, "--seed", asked.seed,
        "--report", "junit", "--report-dir", folder,
    ]
    known = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "hooks",
        "PYTHONPATH": str(HERE),
        "BACKROOM_TOKEN": host.token,
        "BACKROOM_COMPONENT": str(host.component),
    }
    said = run(command, 280 + 20 * asked.examples, env=known, cwd=folder)
    print("\n".join(said.splitlines()[-20:]))
    host.json("GET", "/healthz")


def clients(host, folder, _asked):
    file, operations = described(host, folder)
    for make in (client_of_openapi_python_client, client_of_openapi_generator, client_of_openapi_ts, types_of_openapi_typescript):
        make(host, folder, file, operations)


def named_all(tool, operations, names):
    missing = [operation for operation in operations if operation not in names]
    if missing or not operations:
        sys.exit(f"openapi: {tool} makes no function of {', '.join(missing)}")


def client_of_openapi_python_client(host, folder, file, operations):
    made = folder / "python-client"
    settings = folder / "python-client.yaml"
    settings.write_text("package_name_override: backroom_client\npost_hooks: []\n")
    said = run([
        PYTHON / "openapi-python-client", "generate", "--path", file, "--output-path", made, "--config", settings,
        
    ], 90)
    named_all(f"openapi-python-client\n{said}", operations, {module.stem for module in made.glob("backroom_client/api/*/*.py")})
    run([PYTHON / "python", HERE / "clients" / "openapi_python_client.py", host.url, host.token], 60, env=path_of(made))


def client_of_openapi_generator(host, folder, file, operations):
    made = folder / "generator"
    run([
        PYTHON / "openapi-generator-cli", "generate", "-g", "python", "-i", file, "-o", made,
        "--additional-properties", "packageName=backroom_generated,hideGenerationTimestamp=true",
    ], 120)
    names = set()
    for module in made.glob("backroom_generated/api/*_api.py"):
        names.update(re.findall(r"^    def (\w+)\(", module.read_text(), re.MULTILINE))
    named_all("openapi-generator", operations, names)
    run([PYTHON / "python", HERE / "clients" / "openapi_generator.py", host.url, host.token], 60, env=path_of(made))


def path_of(folder):
    return {**os.environ, "PYTHONPATH": str(folder)}


def client_of_openapi_ts(host, folder, file, operations):
    made = folder / "typescript"
    run([NODE / "openapi-ts", "--input", file, "--output", made / "client"], 90, cwd=TOOLS)
    source = (made / "client" / "sdk.gen.ts").read_text()
    names = re.findall(r"^export const (\w+) = ", source, re.MULTILINE)
    named_all("openapi-ts", [camel(operation) for operation in operations], set(names))
    shutil.copy(HERE / "clients" / "openapi_ts.ts", made / "use.ts")
    compile_typescript(made, ["use.ts", "client"])
    run(["node", made / "out" / "use.js", host.url, host.token], 60)


def types_of_openapi_typescript(host, folder, file, operations):
    made = folder / "types"
    made.mkdir()
    run([NODE / "openapi-typescript", file, "--output", made / "schema.d.ts"], 60)
    source = (made / "schema.d.ts").read_text()
    named_all("openapi-typescript", operations, set(re.findall(r"^    (\w+): \{$", source.split("export interface operations")[1], re.MULTILINE)))
    shutil.copy(HERE / "clients" / "openapi_typescript.ts", made / "use.ts")
    compile_typescript(made, ["use.ts", "schema.d.ts"])
    run(["node", made / "out" / "use.js", host.url, host.token], 60)


def compile_typescript(folder, files):
    """Compiles with the strictest settings; the tools' own modules are found where they are installed."""
    (folder / "node_modules").symlink_to(TOOLS / "node_modules")
    (folder / "package.json").write_text('{ "type": "commonjs" }')
    settings = {
        "compilerOptions": {
            "strict": True, "target": "es2022", "module": "commonjs", "moduleResolution": "node10",
            "lib": ["es2023", "dom", "dom.iterable"], "types": ["node"], "outDir": "out", "skipLibCheck": True,
        },
        "include": files,
    }
    (folder / "tsconfig.json").write_text(json.dumps(settings))
    run([NODE / "tsc", "--project", folder / "tsconfig.json"], 120)


def camel(name):
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


if __name__ == "__main__":
    main()
