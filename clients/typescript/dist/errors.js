// What can go wrong: the service refused, or what became of a call is not known.
/** Base of all that this client throws about a call. */
export class CreditsError extends Error {
    name = "CreditsError";
}
/**
 * No answer told what became of a call, and the time to ask was over. `key` is its idempotency key: the same call with
 * it, later, takes effect once. Where no token was to be had, `cause` is what was thrown instead.
 */
export class Unconfirmed extends CreditsError {
    key;
    attempts;
    name = "Unconfirmed";
    constructor(problem, key, attempts, options) {
        super(`${problem} (attempts: ${attempts})`, options);
        this.key = key;
        this.attempts = attempts;
    }
}
/**
 * The service said no. Nothing was done, and the idempotency key stayed free. `code` is for programs and never changes,
 * `details` depend on it; `requestId` names the request in the service's log.
 */
export class Refused extends CreditsError {
    status;
    code;
    details;
    requestId;
    name = "Refused";
    constructor(status, code, message, details, requestId) {
        super(message);
        this.status = status;
        this.code = code;
        this.details = details;
        this.requestId = requestId;
    }
}
/** The balance does not cover the amount. Both facts are in credits. */
export class InsufficientCredits extends Refused {
    name = "InsufficientCredits";
    /** What was asked for. */
    get required() {
        return this.details.required;
    }
    /** What there is. */
    get available() {
        return this.details.available;
    }
}
/** The person has no balance: `internalInit`, or a first read of it, makes one. */
export class BalanceNotFound extends Refused {
    name = "BalanceNotFound";
}
/** The key was used for another request: a key names one piece of work. */
export class IdempotencyKeyReused extends Refused {
    name = "IdempotencyKeyReused";
}
/** There is no such reservation. */
export class ReservationNotFound extends Refused {
    name = "ReservationNotFound";
}
/** The reservation was committed or put back before, or its time was over. */
export class ReservationNotOpen extends Refused {
    name = "ReservationNotOpen";
}
/** The request is malformed; `details` names each bad field and what is wrong with it. */
export class BadRequest extends Refused {
    name = "BadRequest";
}
/** The service key or the token is missing or not accepted. */
export class NotAuthenticated extends Refused {
    name = "NotAuthenticated";
}
const KINDS = {
    insufficient_credits: InsufficientCredits,
    balance_not_found: BalanceNotFound,
    idempotency_key_reused: IdempotencyKeyReused,
    reservation_not_found: ReservationNotFound,
    reservation_not_open: ReservationNotOpen,
    reservation_expired: ReservationNotOpen,
    bad_request: BadRequest,
    not_authenticated: NotAuthenticated,
};
/** The error for an answer that says no; a body that is not the service's makes a plain `Refused`. */
export function refusal(status, body, requestId) {
    const said = (typeof body === "object" && body !== null ? body : {});
    const code = typeof said["code"] === "string" ? said["code"] : "unknown";
    const message = typeof said["message"] === "string" ? said["message"] : "Refused without a reason";
    const Kind = (Object.hasOwn(KINDS, code) && KINDS[code]) || Refused;
    return new Kind(status, code, message, said["details"], requestId);
}
