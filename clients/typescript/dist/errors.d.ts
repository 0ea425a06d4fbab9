/** Base of all that this client throws about a call. */
export declare class CreditsError extends Error {
    name: string;
}
/**
 * No answer told what became of a call, and the time to ask was over. `key` is its idempotency key: the same call with
 * it, later, takes effect once. Where no token was to be had, `cause` is what was thrown instead.
 */
export declare class Unconfirmed extends CreditsError {
    readonly key: string | undefined;
    readonly attempts: number;
    name: string;
    constructor(problem: string, key: string | undefined, attempts: number, options?: ErrorOptions);
}
/**
 * The service said no. Nothing was done, and the idempotency key stayed free. `code` is for programs and never changes,
 * `details` depend on it; `requestId` names the request in the service's log.
 */
export declare class Refused extends CreditsError {
    readonly status: number;
    readonly code: string;
    readonly details: unknown;
    readonly requestId: string | undefined;
    name: string;
    constructor(status: number, code: string, message: string, details: unknown, requestId: string | undefined);
}
/** The balance does not cover the amount. Both facts are in credits. */
export declare class InsufficientCredits extends Refused {
    name: string;
    readonly details: {
        required: number;
        available: number;
    };
    /** What was asked for. */
    get required(): number;
    /** What there is. */
    get available(): number;
}
/** The person has no balance: `internalInit`, or a first read of it, makes one. */
export declare class BalanceNotFound extends Refused {
    name: string;
}
/** The key was used for another request: a key names one piece of work. */
export declare class IdempotencyKeyReused extends Refused {
    name: string;
}
/** There is no such reservation. */
export declare class ReservationNotFound extends Refused {
    name: string;
}
/** The reservation was committed or put back before, or its time was over. */
export declare class ReservationNotOpen extends Refused {
    name: string;
}
/** The request is malformed; `details` names each bad field and what is wrong with it. */
export declare class BadRequest extends Refused {
    name: string;
}
/** The service key or the token is missing or not accepted. */
export declare class NotAuthenticated extends Refused {
    name: string;
}
/** The error for an answer that says no; a body that is not the service's makes a plain `Refused`. */
export declare function refusal(status: number, body: unknown, requestId: string | undefined): Refused;
