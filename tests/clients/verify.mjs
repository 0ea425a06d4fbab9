// `verifyWebhook` of the TypeScript client on cases of JSON from standard input; prints what came of each.
import { verifyWebhook } from "../../clients/typescript/dist/index.js";

let given = "";
for await (const part of process.stdin) given += part;
const outcomes = [];
for (const { secrets, headers, body, now } of JSON.parse(given)) {
  const bytes = Buffer.from(body, "base64");
  for (const known of [headers, new Headers(headers)]) {
    outcomes.push(
      await verifyWebhook(secrets, known, bytes, now).then(
        (event) => event.type ?? "an event",
        (thrown) => `${thrown.name}: ${thrown.message}`,
      ),
    );
  }
}
console.log(JSON.stringify(outcomes));
