// The tools of a server and the answers to some calls, with the TypeScript SDK. CALLS is JSON: [[tool, arguments], …].
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(process.env.NODE_HOME + "/");
const load = (name) => import(pathToFileURL(require.resolve(`@modelcontextprotocol/sdk/${name}`)).href);
const { Client } = await load("client/index.js");
const { StdioClientTransport } = await load("client/stdio.js");

const [command, ...args] = process.argv.slice(2);
const client = new Client({ name: "calls", version: "1" });
await client.connect(new StdioClientTransport({ command, args, stderr: "ignore", env: process.env }));
const found = { tools: (await client.listTools()).tools, answers: [] };
for (const [name, given] of JSON.parse(process.env.CALLS)) {
  found.answers.push(await client.callTool({ name, arguments: given }).then((told) => told, (error) => [error.code, error.message]));
}
await client.close();
console.log(JSON.stringify(found));
