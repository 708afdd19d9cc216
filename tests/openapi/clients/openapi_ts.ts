// Uses the client that openapi-ts makes: submits a job, waits for it, lists it, and is told why something is refused.
import { client } from "./client/client.gen";
import { jobsList, jobsShow, jobsSubmit, schedulesList } from "./client/sdk.gen";

async function main() {
  const [url, token] = process.argv.slice(2);
  client.setConfig({ baseUrl: url, auth: token });

  const submitted = await jobsSubmit({ body: { plugin: "echo", input: { from: "openapi-ts" } }, query: { wait: "10s" } });
  if (submitted.data?.state !== "succeeded") throw new Error(JSON.stringify(submitted.error ?? submitted.data));
  const shown = await jobsShow({ path: { id: submitted.data.id } });
  const job = shown.data;
  if (job?.plugin.name !== "echo") throw new Error(JSON.stringify(shown.error));
  const listed = await jobsList({ query: { state: "succeeded", limit: 200 } });
  if (!listed.data?.jobs.some((listed) => listed.id === job.id)) throw new Error(JSON.stringify(listed.error));
  const schedules = await schedulesList();
  if (schedules.data?.schedules[0]?.name !== "nightly") throw new Error(JSON.stringify(schedules.error));
  const refused = await jobsSubmit({ body: { plugin: "no-such-plugin" } });
  if (refused.error?.code !== "BR0103") throw new Error(JSON.stringify(refused));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
