/** How far a webhook's time may be from now, before or after: what the specification's own libraries take. */
export declare const TOLERANCE_SECONDS = 300;
/** The request is not a webhook of the service, or not one of now: answer 400 and do nothing. */
export declare class WebhookNotVerified extends Error {
    name: string;
}
/** What an app is told. */
export interface WebhookEvent {
    id: string;
    type: string;
    timestamp: string;
    sequence: number;
    data: Record<string, unknown>;
}
/**
 * The event, once a signature fits. `secrets` are the endpoint's, `whsec_…`: one, or several while one replaces another;
 * one that fits is enough. `body` is the raw body as it came. `nowSeconds`, in Unix seconds, is the clock unless given.
 * Throws WebhookNotVerified; TypeError for a secret that is none.
 */
export declare function verifyWebhook(secrets: string | readonly string[], headers: Headers | Record<string, string | string[] | undefined>, body: Uint8Array | string, nowSeconds?: number): Promise<WebhookEvent>;
