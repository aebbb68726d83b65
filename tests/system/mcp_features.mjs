// Everything that the reference server offers, asked with the TypeScript SDK. Prints what came back as one JSON
// object, so that two runs can be compared: one straight at the server, one through the guard.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(process.env.NODE_HOME + "/");
const load = (name) => import(pathToFileURL(require.resolve(`@modelcontextprotocol/sdk/${name}`)).href);
const { Client } = await load("client/index.js");
const { StdioClientTransport } = await load("client/stdio.js");
const schemas = await load("types.js");

const [command, ...args] = process.argv.slice(2);
const transport = command.startsWith("http")
  ? new (await load("client/streamableHttp.js")).StreamableHTTPClientTransport(new URL(command))
  : new StdioClientTransport({ command, args, stderr: "ignore", env: process.env });
const capabilities = { sampling: {}, elicitation: {}, roots: { listChanged: true } };
const client = new Client({ name: "features", version: "1" }, { capabilities });
const asked = [];
client.setRequestHandler(schemas.CreateMessageRequestSchema, async (request) => {
  asked.push(["sampling", request.params.messages]);
  return { model: "none", role: "assistant", content: { type: "text", text: "a sampled answer" } };
});
client.setRequestHandler(schemas.ElicitRequestSchema, async (request) => {
  asked.push(["elicitation", request.params.message]);
  return { action: "accept", content: { name: "Ann" } };
});
client.setRequestHandler(schemas.ListRootsRequestSchema, async () => {
  asked.push(["roots"]);
  return { roots: [{ uri: "file:///srv/app", name: "app" }] };
});
await client.connect(transport);

const call = (name, given = {}, options = {}) => client.callTool({ name, arguments: given }, undefined, options);
const progress = [];
const found = {
  capabilities: client.getServerCapabilities(),
  version: client.getServerVersion(),
  instructions: client.getInstructions(),
  resources: await client.listResources(),
  templates: await client.listResourceTemplates(),
  prompts: await client.listPrompts(),
  ping: await client.ping(),
  level: await client.setLoggingLevel("debug"),
  echo: await call("echo", { message: "héllo 🌍 \u0000\n" }),
  sum: await call("get-sum", { a: 0.1, b: 12345678901 }),
  image: await call("get-tiny-image"),
  structured: await call("get-structured-content", { location: "Chicago" }),
  annotated: await call("get-annotated-message", { messageType: "success", includeImage: true }),
  links: await call("get-resource-links", { count: 3 }),
  long: await call("trigger-long-running-operation", { duration: 0.4, steps: 4 }, { onprogress: (p) => progress.push(p) }),
  prompt: await client.getPrompt({ name: "args-prompt", arguments: { city: "Graz", state: "Styria" } }),
  completion: await client.complete({
    ref: { type: "ref/prompt", name: "completable-prompt" },
    argument: { name: "department", value: "E" },
  }),
};
const uri = found.resources.resources[0].uri;
found.read = await client.readResource({ uri });
found.subscribed = await client.subscribeResource({ uri });
found.unsubscribed = await client.unsubscribeResource({ uri });
found.progress = progress;
found.tools = await client.listTools();
const names = found.tools.tools.map((tool) => tool.name);
for (const name of ["trigger-sampling-request", "trigger-elicitation-request", "get-roots-list"]) {
  if (names.includes(name)) {
    found[name] = await call(name, name === "trigger-sampling-request" ? { prompt: "the weather in Graz" } : {});
  }
}
found.asked = asked;
found.unknown = await call("no-such-tool").then((result) => result, (error) => [error.code, error.message]);
const stop = new AbortController();
const cancelled = call("trigger-long-running-operation", { duration: 30, steps: 300 }, { signal: stop.signal, onprogress: () => stop.abort("enough") });
found.cancelled = await cancelled.then(() => "finished", (error) => String(error.message ?? error));
found.after = await call("echo", { message: "still there" });
await client.close();
console.log(JSON.stringify(found));
