export { type Answered, type ClientOptions, CreditsClient, type Parts } from "./client.js";
export * from "./errors.js";
export * from "./schema.js";
export { verifyWebhook, type WebhookEvent, WebhookNotVerified } from "./webhooks.js";
