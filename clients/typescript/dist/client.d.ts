import { type Operations, type ReserveAnswer, type ReserveBody } from "./schema.js";
/** How a client is made. Times are in milliseconds. */
export interface ClientOptions {
    baseUrl: string;
    /**
     * A service's key (back ends alone), or what gives a person's token for each attempt. Where it throws, the call rejects
     * with `Unconfirmed`, whose `cause` is what it threw.
     */
    credentials: {
        serviceKey: string;
        appId: string;
    } | {
        token: () => string | Promise<string>;
    };
    /** For one answer (5,000). */
    timeoutMs?: number;
    /** Before the second attempt, then doubling (100). */
    firstPauseMs?: number;
    /** For all attempts together (20,000). */
    deadlineMs?: number;
}
type Given<Part extends string, Value> = undefined extends Value ? unknown : {
    [name in Part]: Value;
};
/** What a call is made of: the body and the values of its path where it has them, the query where one is wanted. */
export type Parts<Name extends keyof Operations> = Given<"body", Operations[Name]["body"]> & Given<"path", Operations[Name]["path"]> & {
    query?: Operations[Name]["query"];
    /** The idempotency key; made anew for each call where the operation takes one and none is given. */
    key?: string;
};
/** What an operation answers. */
export type Answered<Name extends keyof Operations> = Operations[Name]["answer"];
/** Calls the credit service. Every call rejects with `Refused` or `Unconfirmed`. */
export declare class CreditsClient {
    #private;
    constructor(options: ClientOptions);
    /** Call an operation of the OpenAPI document by its id. */
    call<Name extends keyof Operations>(name: Name, parts: Parts<Name>): Promise<Answered<Name>>;
    /**
     * Set credits aside for `work`: committed when it resolves, put back when it rejects. A commit that cannot be confirmed,
     * here or in `work`, rejects with `Unconfirmed`; the reservation stands until it expires, and `commit` may be repeated
     * until then.
     */
    withReservation<T>(reservation: ReserveBody, work: (reserved: ReserveAnswer) => Promise<T>): Promise<T>;
    /** Spend what was set aside. The reservation is the key: a second commit of it is the first. */
    commit(reservationId: string): Promise<Answered<"internalCommit">>;
    /** Give back what was set aside. The reservation is the key. */
    putBack(reservationId: string): Promise<Answered<"internalRefundReservation">>;
}
export {};
