// runed over Streamable HTTP with the TypeScript SDK: what it lists, and whether a subscription hears of a change.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(process.env.NODE_HOME + "/");
const load = (name) => import(pathToFileURL(require.resolve(`@modelcontextprotocol/sdk/${name}`)).href);
const { Client } = await load("client/index.js");
const { StreamableHTTPClientTransport } = await load("client/streamableHttp.js");
const schemas = await load("types.js");

const headers = { authorization: `Bearer ${process.env.RUNE_TOKEN}` };
const transport = new StreamableHTTPClientTransport(new URL(process.argv[2]), { requestInit: { headers } });
const client = new Client({ name: "http", version: "1" });
const updated = new Promise((heard) => {
  client.setNotificationHandler(schemas.ResourceUpdatedNotificationSchema, (told) => heard(told.params.uri));
});
await client.connect(transport);
const uri = "rune://namespaces/default/services";
await client.subscribeResource({ uri });
const service = { name: "api", scale: 0, process: { command: "sleep" } };
const made = await client.callTool({ name: "create_service", arguments: { service } });
const found = {
  tools: (await client.listTools()).tools.map((tool) => tool.name),
  resources: (await client.listResources()).resources.map((each) => each.uri),
  prompts: (await client.listPrompts()).prompts.map((prompt) => prompt.name),
  made: made.structuredContent.service.name,
  updated: await updated,
  read: JSON.parse((await client.readResource({ uri })).contents[0].text).services.length,
};
await transport.terminateSession();
await client.close();
console.log(JSON.stringify(found));
