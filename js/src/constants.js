export const VSN = "2.0.0"

/** `readyState` of a transport, numbered as WebSocket numbers them. */
export const SOCKET_STATES = Object.freeze({connecting: 0, open: 1, closing: 2, closed: 3})

export const CHANNEL_STATES = Object.freeze({
  closed: /** @type {const} */ ("closed"),
  errored: /** @type {const} */ ("errored"),
  joined: /** @type {const} */ ("joined"),
  joining: /** @type {const} */ ("joining"),
  leaving: /** @type {const} */ ("leaving"),
})

export const CHANNEL_EVENTS = Object.freeze({
  close: "phx_close",
  error: "phx_error",
  join: "phx_join",
  reply: "phx_reply",
  leave: "phx_leave",
})

/** Last segment of the URL; LongPoll swaps the first for the second. */
export const TRANSPORTS = Object.freeze({websocket: "websocket", longpoll: "longpoll"})

/** Milliseconds a join or push waits for its reply. */
export const DEFAULT_TIMEOUT = 10_000

/** Milliseconds one HTTP request of LongPoll may take; the server answers an idle poll after 10 s. */
export const LONGPOLLER_TIMEOUT = 20_000

/** Half of the 60 s after which the server gives up on a silent connection. */
export const HEARTBEAT_INTERVAL = 30_000

export const CLOSE_NORMAL = 1000

/** Subprotocol that carries the auth token. Despite the name the server decodes the standard base64 alphabet. */
export const AUTH_TOKEN_PREFIX = "base64url.bearer.phx."
