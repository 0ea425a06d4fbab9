// Made by `python -m web.client_types` from the service's OpenAPI document. Not to be edited by hand.

/** Begin a subscription: `monthly` unless it says otherwise. */
export interface ActivateBody {
  /** How often it is charged */
  interval?: Interval | null;
  autoResume?: boolean | null;
  idempotencyKey?: string | null;
}

/** A subscription that was begun; `amountCharged` was charged now. */
export interface ActivatedAnswer {
  /** Whether it took effect */
  success: boolean;
  /** Whether it is on */
  active: boolean;
  /** How often it is charged */
  interval: Interval;
  /** When it is charged next */
  nextChargeAt: string;
  /** Credits charged now */
  amountCharged: number;
  /** Whether sync resumes by itself after a pause, once there are credits for it */
  autoResume: boolean;
}

/** What is kept with the subscription now. */
export interface AutoResumeAnswer {
  /** Whether it took effect */
  success: boolean;
  /** Whether sync resumes by itself after a pause, once there are credits for it */
  autoResume: boolean;
}

/** Ask for resuming after a pause, or for it no longer. */
export interface AutoResumeBody {
  /** Whether sync resumes by itself after a pause, once there are credits for it */
  autoResume: boolean;
}

/** What is left after a use. */
export interface BalanceAfterUse {
  /** Credits that can be spent; below zero it is a debt */
  balance: number;
  /** Credits ever spent, less those given back */
  totalSpent: number;
}

/** What a person has, in credits. */
export interface BalanceAnswer {
  /** Credits that can be spent; below zero it is a debt */
  balance: number;
  /** Credits ever bought, granted or received */
  totalEarned: number;
  /** Credits ever spent, less those given back */
  totalSpent: number;
}

/** What can be spent afterwards. */
export interface BalanceLeft {
  /** Credits that can be spent; below zero it is a debt */
  balance: number;
}

/** The whole row of a balance. */
export interface BalanceRowAnswer {
  /** Opaque id of a person */
  userId: string;
  /** Credits that can be spent; below zero it is a debt */
  balance: number;
  /** Credits ever bought, granted or received */
  totalEarned: number;
  /** Credits ever spent, less those given back */
  totalSpent: number;
  /** How often the balance was changed */
  version: number;
  /** When the row was made */
  createdAt: string;
  /** When the row was last changed */
  updatedAt: string;
}

/** The outcome of one item: that of a use, or the refusal it would have got alone. */
export interface BatchItemAnswer {
  /** The HTTP status again */
  statusCode: number;
  /** Whether it took effect */
  success: boolean;
  /** The entry that was written */
  transaction?: TransactionAnswer | null;
  /** What can be spent afterwards */
  newBalance?: BalanceAfterUse | null;
  /** A message for people */
  message?: string | null;
  /** The error, for programs */
  code?: string | null;
  /** What there is to say about it */
  details?: Record<string, unknown> | null;
}

/** A purchase that waits to be paid: with `clientSecret` for Stripe's elements, or at `checkoutUrl`. */
export interface BoughtAnswer {
  /** The purchase */
  purchaseId: string;
  /** Euro cents */
  amount: number;
  /** Whole credits */
  credits: number;
  /** For Stripe's form in the browser */
  clientSecret?: string | null;
  /** Stripe's page to pay on */
  checkoutUrl?: string | null;
}

/** Credits that came back to the creator. */
export interface CancelledGiftAnswer {
  /** Whether it took effect */
  success: boolean;
  /** Credits that went back to the giver */
  refundedCredits: number;
}

/** Another interval, from the next renewal on. */
export interface ChangeIntervalBody {
  /** How often it is charged */
  interval: Interval;
}

/** What a run of the recurring charge did. */
export interface ChargeRecurringAnswer {
  /** How many were charged */
  charged: number;
  /** How many were paused */
  paused: number;
  /** How many failed */
  errors: number;
  /** How many were due */
  total: number;
}

/** Credits spent that were set aside. */
export interface CommitAnswer {
  /** Whether it took effect */
  success: boolean;
  /** The entry that was written */
  transactionId: string;
}

/** Spend what was set aside. */
export interface CommitBody {
  /** The reservation */
  reservationId: string;
  /** What for, in words for people */
  description?: string | null;
  idempotencyKey?: string | null;
}

/** What a person has, and how many entries they have. */
export interface CountedBalanceAnswer {
  /** Credits that can be spent; below zero it is a debt */
  balance: number;
  /** Credits ever bought, granted or received */
  totalEarned: number;
  /** Credits ever spent, less those given back */
  totalSpent: number;
  /** How many entries the person has */
  transactionsCount: number;
}

/** Set credits aside for whoever has the code, or (`personalized`) for one address. */
export interface CreateGiftBody {
  /** Whole credits in it */
  totalCredits?: number | null;
  /** Whole credits */
  credits?: number | null;
  /** The kind */
  type?: GiftType | null;
  /** Who alone may take it */
  targetEmail?: string | null;
  message?: string | null;
  /** Days until it expires; 90 when left out */
  expirationDays?: number | null;
  expiresAt?: string | null;
  sourceAppId?: string | null;
  idempotencyKey?: string | null;
}

/** The subscription has ended. */
export interface DeactivatedAnswer {
  /** Whether it took effect */
  success: boolean;
}

/** How many rows were erased or put under a pseudonym. */
export interface ErasureAnswer {
  /** How many rows were erased or made pseudonymous */
  deletedCount: number;
}

/** Every error: the status again, a message for people, a stable code for machines. */
export interface ErrorAnswer {
  /** The HTTP status again */
  statusCode: number;
  /** A message for people */
  message: string;
  /** The error, for programs */
  code: string;
  /** What there is to say about it */
  details?: unknown;
}

/** A gift, as anybody who has its code sees it: never whose address it is for. */
export interface FoundGiftAnswer {
  /** The gift's code */
  code: string;
  /** The kind */
  type: GiftType;
  /** The state */
  status: GiftStatus;
  /** Whole credits in it */
  totalCredits: number;
  /** Whether somebody took it */
  redeemed: boolean;
  /** A message for people */
  message: string | null;
  /** Who gives, as the receiver reads it */
  creatorName: string | null;
  /** When it ends by itself */
  expiresAt: string | null;
  /** Whether it is for one address alone */
  isPersonalized: boolean;
  /** Whole credits */
  credits: number;
}

/** A gift, as its creator sees it. */
export interface GiftAnswer {
  /** Id of the row */
  id: string;
  /** The gift's code */
  code: string;
  /** A link to the gift */
  shortUrl: string;
  /** Who gives */
  creatorId: string;
  /** Who gives, as the receiver reads it */
  creatorName: string | null;
  /** Whole credits in it */
  totalCredits: number;
  /** 1 once somebody took it */
  redeemed: number;
  /** The kind */
  type: GiftType;
  /** The state */
  status: GiftStatus;
  /** Who alone may take it */
  targetEmail: string | null;
  /** A message for people */
  message: string | null;
  /** When it ends by itself */
  expiresAt: string | null;
  /** The entry that paid for it */
  reservationTransactionId: string | null;
  /** When the row was made */
  createdAt: string;
  /** When the row was last changed */
  updatedAt: string;
  /** A link to the gift */
  url: string;
}

/** Only an active gift can be redeemed, cancelled, or expire. */
export type GiftStatus = "active" | "cancelled" | "depleted" | "expired" | "refunded";

/** `personalized` is for one address alone. */
export type GiftType = "personalized" | "simple";

/** A reward: `newBalance` is the balance after the first grant of the reference. */
export interface GrantAnswer {
  /** Whether the reward is given, now or before */
  ok: boolean;
  /** Whether the reference was rewarded before */
  alreadyGranted: boolean;
  /** What can be spent afterwards */
  newBalance: number;
  /** The entry that was written */
  transactionId?: string | null;
}

/** Give a reward, once for a person and a reference. */
export interface GrantBody {
  /** Opaque id of a person */
  userId: string;
  /** Credits */
  amount: number;
  /** What for */
  reason: string;
  /** The event that is rewarded; once for a person and a reference */
  referenceId: string;
  /** What for, in words for people */
  description?: string | null;
  idempotencyKey?: string | null;
}

/** Open a person's balance. */
export interface InitBody {
  /** Opaque id of a person */
  userId: string;
}

/** Spend a person's credits. */
export interface InternalUseBody {
  /** Credits */
  amount: number;
  /** The calling app */
  appId: string;
  /** What for, in words for people */
  description: string;
  idempotencyKey?: string | null;
  /** A JSON object of the caller's own, kept with the row */
  metadata?: Record<string, unknown> | null;
  /** Opaque id of a person */
  userId: string;
}

/** How often a subscription is charged; the database's `sync_billing_interval`. */
export type Interval = "monthly" | "quarterly" | "yearly";

/** A new interval: `amountCharged` will be charged from `effectiveAt` on; null under a gift. */
export interface IntervalChangedAnswer {
  /** Whether it took effect */
  success: boolean;
  /** How often it is charged */
  interval: Interval;
  /** Credits charged now */
  amountCharged: number;
  /** From when on */
  effectiveAt: string | null;
}

/** How a job stands; `result` is what its caller would have been answered, `error` why it was refused. */
export interface JobAnswer {
  /** Id of the row */
  id: string;
  /** What it does */
  kind: string;
  /** The state */
  status: string;
  /** When the row was made */
  createdAt: string;
  /** When it ended */
  finishedAt: string | null;
  /** What it ended with, when it is done */
  result: unknown;
  /** Why it was refused */
  error: ErrorAnswer | null;
}

/** Something to buy, at a price in euro cents. */
export interface PackageAnswer {
  /** Id of the row */
  id: string;
  /** What it is called */
  name: string;
  /** What for, in words for people */
  description: string | null;
  /** Whole credits */
  credits: number;
  /** The price, in euro cents */
  priceEuroCents: number;
  /** Stripe's price, where it has one */
  stripePriceId: string | null;
  /** Whether it is on */
  active: boolean;
  /** Its place in the list */
  sortOrder: number;
  /** A JSON object of the caller's own, kept with the row */
  metadata: Record<string, unknown> | null;
  /** When the row was made */
  createdAt: string;
  /** When the row was last changed */
  updatedAt: string;
}

/** Accepted and durable; the job's result will be at `Location`. */
export interface PendingAnswer {
  /** Whether it took effect */
  success: boolean;
  /** The state */
  status: string;
  /** The job that does it */
  jobId: string;
}

/** A gift that waits for the caller: `POST /api/v1/gifts/{code}/redeem` takes it. */
export interface PendingGiftAnswer {
  /** The gift's code */
  code: string;
  /** The kind */
  type: GiftType;
  /** The state */
  status: GiftStatus;
  /** Whole credits in it */
  totalCredits: number;
  /** Whether somebody took it */
  redeemed: boolean;
  /** A message for people */
  message: string | null;
  /** Who gives, as the receiver reads it */
  creatorName: string | null;
  /** When it ends by itself */
  expiresAt: string | null;
  /** Whether it is for one address alone */
  isPersonalized: boolean;
  /** Whole credits */
  credits: number;
  /** Id of the row */
  id: string;
  /** A link to the gift */
  url: string;
  /** When the row was made */
  createdAt: string;
}

/** A purchase; `status` is pending, completed, failed or cancelled. */
export interface PurchaseAnswer {
  /** Id of the row */
  id: string;
  /** Opaque id of a person */
  userId: string;
  /** The package */
  packageId: string | null;
  /** Whole credits */
  credits: number;
  /** The price, in euro cents */
  priceEuroCents: number;
  /** Stripe's payment */
  stripePaymentIntentId: string | null;
  /** Stripe's customer */
  stripeCustomerId: string | null;
  /** The state */
  status: string;
  /** A JSON object of the caller's own, kept with the row */
  metadata: Record<string, unknown> | null;
  /** When the row was made */
  createdAt: string;
  /** When it was completed */
  completedAt: string | null;
  /** Why the last try to pay failed, in Stripe's words */
  failureCode: string | null;
  /** Credits taken back after a refund or a dispute */
  creditsTakenBack: number;
}

/** Buy a package: in the caller's own page, or on Stripe's when there is a `successUrl` to come back to. */
export interface PurchaseBody {
  /** The package */
  packageId: string;
  successUrl?: string | null;
  cancelUrl?: string | null;
  idempotencyKey?: string | null;
}

/** A gift that the caller redeemed. */
export interface ReceivedGiftAnswer {
  /** Id of the row */
  id: string;
  /** The gift */
  giftCodeId: string;
  /** Who took it */
  redeemerUserId: string;
  /** The state */
  status: RedemptionStatus;
  /** Credits received */
  creditsReceived: number;
  /** The entry that credited it */
  creditTransactionId: string | null;
  /** The app where it happened */
  sourceAppId: string | null;
  /** When the row was made */
  createdAt: string;
  /** Whole credits */
  credits: number;
  /** The gift's code */
  code: string;
  /** A message for people */
  message: string | null;
  /** Who gives, as the receiver reads it */
  creatorName: string | null;
  /** When it was taken */
  redeemedAt: string;
}

/** Take a gift. */
export interface RedeemGiftBody {
  sourceAppId?: string | null;
  idempotencyKey?: string | null;
}

/** Give a person what waits for their address, which the calling service vouches for. */
export interface RedeemPendingBody {
  /** Opaque id of a person */
  userId: string;
  /** The person's e-mail address */
  email: string;
  idempotencyKey?: string | null;
}

/** Credits received. */
export interface RedeemedGiftAnswer {
  /** Whether it took effect */
  success: boolean;
  /** Credits received */
  creditsReceived: number;
  /** A message for people */
  message: string | null;
  /** Who gives, as the receiver reads it */
  creatorName: string | null;
  /** Whole credits */
  credits: number;
  /** What can be spent afterwards */
  newBalance: number;
}

/** How many gifts the person got, and their credits. */
export interface RedeemedPendingAnswer {
  /** How many gifts */
  redeemed: number;
  /** Their credits together */
  totalCredits: number;
}

/** What came of an attempt to redeem. */
export type RedemptionStatus = "failed_already_claimed" | "failed_depleted" | "failed_expired" | "failed_wrong_user" | "success";

/** Credits given back. */
export interface RefundAnswer {
  /** Whether it took effect */
  success: boolean;
  /** The entry that was written */
  transaction: TransactionAnswer;
  /** What can be spent afterwards */
  newBalance: BalanceLeft;
}

/** Give credits back for an operation that failed. */
export interface RefundBody {
  /** Opaque id of a person */
  userId: string;
  /** Credits */
  amount: number;
  /** What for, in words for people */
  description: string;
  appId?: string | null;
  /** A JSON object of the caller's own, kept with the row */
  metadata?: Record<string, unknown> | null;
  idempotencyKey?: string | null;
}

/** Credits put back that were set aside. */
export interface RefundReservationAnswer {
  /** Whether it took effect */
  success: boolean;
  /** Credits that can be spent; below zero it is a debt */
  balance: number;
}

/** Put back what was set aside. */
export interface RefundReservationBody {
  /** The reservation */
  reservationId: string;
  idempotencyKey?: string | null;
}

/** Credits set aside until `expiresAt`. */
export interface ReserveAnswer {
  /** The reservation */
  reservationId: string;
  /** Credits that can be spent; below zero it is a debt */
  balance: number;
  /** When it ends by itself */
  expiresAt: string;
}

/** Set credits aside. */
export interface ReserveBody {
  /** Opaque id of a person */
  userId: string;
  /** Credits */
  amount: number;
  /** What for; the part before the first `:` names the app */
  reason: string;
  /** How long the credits are held; a day when it is left out */
  expiresInSeconds?: number | null;
  idempotencyKey?: string | null;
}

/** How a person's sync stands. */
export interface SyncStatusAnswer {
  /** Whether it is on */
  active: boolean;
  /** How often it is charged */
  interval: Interval;
  /** When it is charged next */
  nextChargeAt: string | null;
  /** When it was paused for want of credits */
  pausedAt: string | null;
  /** Whether it is a gift of ours */
  gifted: boolean;
  /** Whether sync resumes by itself after a pause, once there are credits for it */
  autoResume: boolean;
}

/** An entry of the ledger. `cursor` continues a list after this entry. */
export interface TransactionAnswer {
  /** Id of the row */
  id: string;
  /** Opaque id of a person */
  userId: string;
  /** The kind */
  type: string;
  /** The state */
  status: string;
  /** Credits */
  amount: number;
  /** What could be spent before */
  balanceBefore: number;
  /** What can be spent after */
  balanceAfter: number;
  /** The app on whose behalf */
  appId: string;
  /** What for, in words for people */
  description: string;
  /** A JSON object of the caller's own, kept with the row */
  metadata: Record<string, unknown> | null;
  /** Makes the request take effect once, however often it is sent */
  idempotencyKey: string | null;
  /** When the row was made */
  createdAt: string;
  /** When it was completed */
  completedAt: string | null;
  /** Continues a list after this entry: the query's `cursor` */
  cursor: string;
}

/** A use that took effect: now with `newBalance`, or before with `message`. */
export interface UseAnswer {
  /** Whether it took effect */
  success: boolean;
  /** The entry that was written */
  transaction: TransactionAnswer;
  /** What can be spent afterwards */
  newBalance?: BalanceAfterUse | null;
  /** A message for people */
  message?: string | null;
}

/** An outcome for each item, in the order of the items. */
export interface UseBatchAnswer {
  /** An outcome for each item, in the order of the items */
  results: Array<BatchItemAnswer>;
}

/** Spend credits of many, item by item, in the order given. */
export interface UseBatchBody {
  /** What to do, item by item, in this order */
  items: Array<InternalUseBody>;
}

/** Spend the caller's credits. */
export interface UseBody {
  /** Credits */
  amount: number;
  /** The calling app */
  appId: string;
  /** What for, in words for people */
  description: string;
  idempotencyKey?: string | null;
  /** A JSON object of the caller's own, kept with the row */
  metadata?: Record<string, unknown> | null;
}

/** What is sent and answered, by the operation's id. */
export interface Operations {
  /** GET /api/v1/credits/balance: The caller's balance. */
  creditsBalance: {
    path: undefined;
    query: undefined;
    body: undefined;
    answer: BalanceAnswer;
  };
  /** POST /api/v1/credits/use: Spend the caller's credits now. */
  creditsUse: {
    path: undefined;
    query: undefined;
    body: UseBody;
    answer: UseAnswer;
  };
  /** GET /api/v1/credits/transactions: The caller's entries, newest first. */
  creditsTransactions: {
    path: undefined;
    query: { limit?: number; offset?: number; cursor?: string };
    body: undefined;
    answer: Array<TransactionAnswer>;
  };
  /** GET /api/v1/credits/packages: What can be bought. */
  creditsPackagesForSale: {
    path: undefined;
    query: undefined;
    body: undefined;
    answer: Array<PackageAnswer>;
  };
  /** GET /api/v1/gifts/{code}: The gift of a code, for whoever has it. */
  giftsLookUp: {
    path: { code: string };
    query: undefined;
    body: undefined;
    answer: FoundGiftAnswer;
  };
  /** POST /api/v1/gifts: Make a gift. */
  giftsCreate: {
    path: undefined;
    query: undefined;
    body: CreateGiftBody;
    answer: GiftAnswer;
  };
  /** POST /api/v1/gifts/{code}/redeem: Take a gift, once. */
  giftsRedeem: {
    path: { code: string };
    query: undefined;
    body: RedeemGiftBody;
    answer: RedeemedGiftAnswer;
  };
  /** GET /api/v1/gifts/me/created: The gifts that the caller made, newest first. */
  giftsCreated: {
    path: undefined;
    query: { limit?: number; offset?: number };
    body: undefined;
    answer: Array<GiftAnswer>;
  };
  /** GET /api/v1/gifts/me/received: The gifts that the caller redeemed, newest first. */
  giftsReceived: {
    path: undefined;
    query: { limit?: number; offset?: number };
    body: undefined;
    answer: Array<ReceivedGiftAnswer>;
  };
  /** GET /api/v1/gifts/me/pending: The gifts that wait for the address in the caller's token, newest first. */
  giftsPending: {
    path: undefined;
    query: undefined;
    body: undefined;
    answer: Array<PendingGiftAnswer>;
  };
  /** DELETE /api/v1/gifts/{id}: Cancel a gift of the caller's own that nobody took. */
  giftsCancel: {
    path: { id: string };
    query: undefined;
    body: undefined;
    answer: CancelledGiftAnswer;
  };
  /** GET /g/{code}: A gift as a page for people. */
  giftsPage: {
    path: { code: string };
    query: undefined;
    body: undefined;
    answer: unknown;
  };
  /** POST /api/v1/credits/purchase: Begin to buy a package. */
  creditsBuy: {
    path: undefined;
    query: undefined;
    body: PurchaseBody;
    answer: BoughtAnswer;
  };
  /** GET /api/v1/credits/purchases: The caller's purchases, newest first. */
  creditsOwnPurchases: {
    path: undefined;
    query: { limit?: number; offset?: number };
    body: undefined;
    answer: Array<PurchaseAnswer>;
  };
  /** GET /api/v1/credits/purchase/{id}: One purchase of the caller's. */
  creditsOwnPurchase: {
    path: { id: string };
    query: undefined;
    body: undefined;
    answer: PurchaseAnswer;
  };
  /** GET /api/v1/sync/status: How the caller's sync stands. */
  syncStatus: {
    path: undefined;
    query: undefined;
    body: undefined;
    answer: SyncStatusAnswer;
  };
  /** POST /api/v1/sync/activate: Begin a subscription and pay its first period now. */
  syncActivate: {
    path: undefined;
    query: undefined;
    body: ActivateBody;
    answer: ActivatedAnswer;
  };
  /** POST /api/v1/sync/deactivate: End the subscription now. */
  syncDeactivate: {
    path: undefined;
    query: undefined;
    body: undefined;
    answer: DeactivatedAnswer;
  };
  /** POST /api/v1/sync/change-interval: Pay in another interval from the next renewal on. */
  syncChangeInterval: {
    path: undefined;
    query: undefined;
    body: ChangeIntervalBody;
    answer: IntervalChangedAnswer;
  };
  /** POST /api/v1/sync/auto-resume: Ask for sync to resume by itself after a pause, or ask for it no longer. */
  syncAutoResume: {
    path: undefined;
    query: undefined;
    body: AutoResumeBody;
    answer: AutoResumeAnswer;
  };
  /** GET /api/v1/internal/credits/balance/{userId}: A person's balance, and how many entries they have. */
  internalBalance: {
    path: { userId: string };
    query: undefined;
    body: undefined;
    answer: CountedBalanceAnswer;
  };
  /** DELETE /api/v1/internal/credits/balance/{userId}: Erase a person's data. */
  internalErase: {
    path: { userId: string };
    query: undefined;
    body: undefined;
    answer: ErasureAnswer;
  };
  /** POST /api/v1/internal/credits/use: Spend a person's credits now. */
  internalUse: {
    path: undefined;
    query: undefined;
    body: InternalUseBody;
    answer: UseAnswer;
  };
  /** POST /api/v1/internal/credits/use/batch: Spend the credits of many. */
  internalUseBatch: {
    path: undefined;
    query: undefined;
    body: UseBatchBody;
    answer: UseBatchAnswer;
  };
  /** POST /api/v1/internal/credits/refund: Give credits back for an operation that failed. */
  internalRefund: {
    path: undefined;
    query: undefined;
    body: RefundBody;
    answer: RefundAnswer | PendingAnswer;
  };
  /** POST /api/v1/internal/credits/grant: Give a reward, once for a person and a reference. */
  internalGrant: {
    path: undefined;
    query: undefined;
    body: GrantBody;
    answer: GrantAnswer;
  };
  /** POST /api/v1/internal/credits/init: A person's balance, which comes into being when there is none. */
  internalInit: {
    path: undefined;
    query: undefined;
    body: InitBody;
    answer: BalanceRowAnswer;
  };
  /** POST /api/v1/internal/credits/reserve: Set credits aside for an operation whose end is not known yet. */
  internalReserve: {
    path: undefined;
    query: undefined;
    body: ReserveBody;
    answer: ReserveAnswer;
  };
  /** POST /api/v1/internal/credits/commit: Spend what was set aside. */
  internalCommit: {
    path: undefined;
    query: undefined;
    body: CommitBody;
    answer: CommitAnswer;
  };
  /** POST /api/v1/internal/credits/refund-reservation: Put back what was set aside. */
  internalRefundReservation: {
    path: undefined;
    query: undefined;
    body: RefundReservationBody;
    answer: RefundReservationAnswer;
  };
  /** POST /api/v1/internal/gifts/redeem-pending: Give a person all that waits for their address. */
  internalRedeemPending: {
    path: undefined;
    query: undefined;
    body: RedeemPendingBody;
    answer: RedeemedPendingAnswer | PendingAnswer;
  };
  /** GET /api/v1/internal/sync/status/{userId}: How a person's sync stands. */
  internalStatus: {
    path: { userId: string };
    query: undefined;
    body: undefined;
    answer: SyncStatusAnswer;
  };
  /** POST /api/v1/internal/sync/charge-recurring: Charge or pause everybody whose date has come. */
  internalChargeRecurring: {
    path: undefined;
    query: undefined;
    body: undefined;
    answer: ChargeRecurringAnswer | PendingAnswer;
  };
  /** GET /api/v1/internal/jobs/{jobId}: How a job stands. */
  jobsJob: {
    path: { jobId: string };
    query: undefined;
    body: undefined;
    answer: JobAnswer;
  };
}

/** Where each operation is; `takesKey`: it moves credits, once for a key. */
export const OPERATIONS: {
  readonly [Name in keyof Operations]: { readonly method: string; readonly path: string; readonly takesKey: boolean };
} = {
  creditsBalance: { method: "GET", path: "/api/v1/credits/balance", takesKey: false },
  creditsUse: { method: "POST", path: "/api/v1/credits/use", takesKey: true },
  creditsTransactions: { method: "GET", path: "/api/v1/credits/transactions", takesKey: false },
  creditsPackagesForSale: { method: "GET", path: "/api/v1/credits/packages", takesKey: false },
  giftsLookUp: { method: "GET", path: "/api/v1/gifts/{code}", takesKey: false },
  giftsCreate: { method: "POST", path: "/api/v1/gifts", takesKey: true },
  giftsRedeem: { method: "POST", path: "/api/v1/gifts/{code}/redeem", takesKey: true },
  giftsCreated: { method: "GET", path: "/api/v1/gifts/me/created", takesKey: false },
  giftsReceived: { method: "GET", path: "/api/v1/gifts/me/received", takesKey: false },
  giftsPending: { method: "GET", path: "/api/v1/gifts/me/pending", takesKey: false },
  giftsCancel: { method: "DELETE", path: "/api/v1/gifts/{id}", takesKey: false },
  giftsPage: { method: "GET", path: "/g/{code}", takesKey: false },
  creditsBuy: { method: "POST", path: "/api/v1/credits/purchase", takesKey: true },
  creditsOwnPurchases: { method: "GET", path: "/api/v1/credits/purchases", takesKey: false },
  creditsOwnPurchase: { method: "GET", path: "/api/v1/credits/purchase/{id}", takesKey: false },
  syncStatus: { method: "GET", path: "/api/v1/sync/status", takesKey: false },
  syncActivate: { method: "POST", path: "/api/v1/sync/activate", takesKey: true },
  syncDeactivate: { method: "POST", path: "/api/v1/sync/deactivate", takesKey: false },
  syncChangeInterval: { method: "POST", path: "/api/v1/sync/change-interval", takesKey: false },
  syncAutoResume: { method: "POST", path: "/api/v1/sync/auto-resume", takesKey: false },
  internalBalance: { method: "GET", path: "/api/v1/internal/credits/balance/{userId}", takesKey: false },
  internalErase: { method: "DELETE", path: "/api/v1/internal/credits/balance/{userId}", takesKey: false },
  internalUse: { method: "POST", path: "/api/v1/internal/credits/use", takesKey: true },
  internalUseBatch: { method: "POST", path: "/api/v1/internal/credits/use/batch", takesKey: true },
  internalRefund: { method: "POST", path: "/api/v1/internal/credits/refund", takesKey: true },
  internalGrant: { method: "POST", path: "/api/v1/internal/credits/grant", takesKey: true },
  internalInit: { method: "POST", path: "/api/v1/internal/credits/init", takesKey: false },
  internalReserve: { method: "POST", path: "/api/v1/internal/credits/reserve", takesKey: true },
  internalCommit: { method: "POST", path: "/api/v1/internal/credits/commit", takesKey: true },
  internalRefundReservation: { method: "POST", path: "/api/v1/internal/credits/refund-reservation", takesKey: true },
  internalRedeemPending: { method: "POST", path: "/api/v1/internal/gifts/redeem-pending", takesKey: true },
  internalStatus: { method: "GET", path: "/api/v1/internal/sync/status/{userId}", takesKey: false },
  internalChargeRecurring: { method: "POST", path: "/api/v1/internal/sync/charge-recurring", takesKey: true },
  jobsJob: { method: "GET", path: "/api/v1/internal/jobs/{jobId}", takesKey: false },
};
