// Uses the types that openapi-typescript makes, with the client that goes with them.
import createClient from "openapi-fetch";
import type { paths } from "./schema";

async function main() {
  const [baseUrl, token] = process.argv.slice(2);
  const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${token}` } });

  const submitted = await client.POST("/v1/jobs", { params: { query: { wait: "10s" } }, body: { plugin: "echo", input_text: "hello" } });
  const job = submitted.data;
  if (job?.state !== "succeeded") throw new Error(JSON.stringify(submitted.error));
  const listed = await client.GET("/v1/jobs", { params: { query: { plugin: "echo", limit: 200 } } });
  if (!listed.data?.jobs.some((listed) => listed.id === job.id)) throw new Error(JSON.stringify(listed.error));
  const refused = await client.GET("/v1/jobs/{id}", { params: { path: { id: "ffffffff" } } });
  if (refused.error?.code !== "BR0109") throw new Error(JSON.stringify(refused));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
