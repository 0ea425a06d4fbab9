export { CreditsClient } from "./client.js";
export * from "./errors.js";
export * from "./schema.js";
export { verifyWebhook, WebhookNotVerified } from "./webhooks.js";
