import {fromBase64, isBinary, toArrayBuffer, toBase64, toBytes, utf8} from "./bytes.js"
import {AUTH_TOKEN_PREFIX, LONGPOLLER_TIMEOUT, SOCKET_STATES, TRANSPORTS} from "./constants.js"
import {closeEvent} from "./events.js"
import {appendParams} from "./query.js"
import {request} from "./request.js"

/** The server reads no more lines of one POST. */
const MAX_BATCH_LINES = 100

/** At three bytes per character this stays below the 8,000,000 bytes the server reads of one body. */
const MAX_BATCH_CHARS = 2_000_000

/** Highest first byte of a binary frame (push, reply, broadcast). */
const LAST_FRAME_KIND = 2

/**
 * A transport with the face of a WebSocket that polls for messages and posts them in batches.
 *
 * The first poll opens a session, whose token accompanies every later request. A session that is lost ends the
 * transport with a close event; Socket then starts a new one and rejoins its channels.
 */
export class LongPoll {
  /** The session expires by itself when polls stay away, and a failing poll says so at once. */
  skipHeartbeat = true
  timeout = LONGPOLLER_TIMEOUT
  /** @type {number} */
  readyState = SOCKET_STATES.connecting
  /** @type {string|null} */
  token = null
  /** @type {string|null} */
  authToken = null

  onopen = ignore
  onerror = ignore
  onmessage = ignore
  onclose = ignore

  /** Keeps the URLs of two tabs apart: Chromium's cache has a request wait for another of the same URL, up to 20 s. */
  #id = Math.random()
  /** @type {string[]} Lines for the next POST, text or base64. */
  #queue = []
  /** Lines of the POST that is on its way; there is only ever one, so order is kept. */
  #inFlight = 0
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #batchTimer = undefined
  /** @type {Set<() => void>} */
  #aborts = new Set()

  /**
   * @param {string} endPoint URL as a WebSocket would get it; `ws` becomes `http` and `/websocket` becomes `/longpoll`.
   * @param {string[]|null} [protocols] Subprotocols, of which the one with the auth token is read.
   */
  constructor(endPoint, protocols) {
    this.pollEndpoint = endPoint
      .replace(/^ws/, "http")
      .replace(new RegExp(`^([^?]*)/${TRANSPORTS.websocket}`), `$1/${TRANSPORTS.longpoll}`)
    const bearer = protocols?.find((protocol) => protocol.startsWith(AUTH_TOKEN_PREFIX))
    if (bearer) this.authToken = atob(bearer.slice(AUTH_TOKEN_PREFIX.length))
    // On the next tick, when the creator has set its callbacks.
    this.#batchTimer = setTimeout(() => {
      this.#batchTimer = undefined
      this.#poll()
    }, 0)
  }

  /** Messages that the server has not acknowledged; a socket that disconnects waits for them a while. */
  get bufferedAmount() {
    return this.#queue.length + this.#inFlight
  }

  /** @param {string|ArrayBuffer|ArrayBufferView} data */
  send(data) {
    this.#queue.push(isBinary(data) ? toBase64(toBytes(data)) : data)
    // One turn of the event loop collects what belongs together; an unacknowledged POST collects the next batch.
    if (this.#inFlight === 0) this.#batchTimer ??= setTimeout(() => this.#post(), 0)
  }

  /**
   * Aborts what is under way and drops what was not sent.
   *
   * @param {number} [code]
   * @param {string} [reason]
   * @param {boolean} [wasClean]
   */
  close(code = 1005, reason = "", wasClean = true) {
    this.#stop(SOCKET_STATES.closed)
    this.onclose(closeEvent(code, reason, wasClean))
  }

  /** @param {number} readyState */
  #stop(readyState) {
    this.readyState = readyState
    for (const abort of this.#aborts) abort()
    this.#aborts.clear()
    clearTimeout(this.#batchTimer)
    this.#batchTimer = undefined
    this.#queue = []
    this.#inFlight = 0
  }

  #poll() {
    if (this.readyState === SOCKET_STATES.closed) return
    /** @type {Record<string, string>} */
    const headers = {Accept: "application/json"}
    if (this.authToken !== null) headers["X-Phoenix-AuthToken"] = this.authToken
    this.#request("GET", headers, undefined, (response) => this.#polled(response ?? {}))
  }

  /** @param {{status?: number, token?: string, messages?: string[]}} response */
  #polled({status, token, messages = []}) {
    if (status === 410 && this.token === null && token) {
      this.token = token
      this.readyState = SOCKET_STATES.open
      this.onopen({})
      this.#poll()
    } else if (status === 410 && this.token !== null) {
      this.#fail(410, 3410, "session_gone")
    } else if (status === 200 || status === 204) {
      this.token = token ?? this.token
      for (const message of messages) {
        const data = received(message)
        // A task each, as a WebSocket would deliver them: one failing callback does not take the others along.
        setTimeout(() => this.onmessage({data}), 0)
      }
      this.#poll()
    } else if (status === 403) {
      this.onerror(403)
      this.close(1008, "forbidden", false)
    } else {
      // Whatever it was (a proxy's page, a crash, no network), polling has to start again some time.
      this.#fail(500, 1011, "internal server error")
    }
  }

  #post() {
    this.#batchTimer = undefined
    let lines = 0
    for (let chars = 0; lines < Math.min(this.#queue.length, MAX_BATCH_LINES); lines += 1) {
      chars += this.#queue[lines].length
      if (lines > 0 && chars > MAX_BATCH_CHARS) break
    }
    this.#inFlight = lines
    const body = this.#queue.splice(0, lines).join("\n")
    this.#request("POST", {"Content-Type": "application/x-ndjson"}, body, (response) => {
      this.#inFlight = 0
      if (response?.status !== 200) {
        this.#fail(response?.status ?? 500, 1011, "internal server error")
      } else if (this.#queue.length > 0) {
        this.#post()
      }
    })
  }

  /**
   * @param {"GET"|"POST"} method
   * @param {Record<string, string>} headers
   * @param {string|undefined} body
   * @param {(response: any) => void} done
   */
  #request(method, headers, body, done) {
    let url = this.pollEndpoint
    if (this.token !== null) {
      headers["X-Phoenix-Longpoll-Token"] = this.token
      url = appendParams(url, {_: this.#id})
    }
    const abort = request(
      {method, url, headers, body, timeout: this.timeout},
      (response) => {
        this.#aborts.delete(abort)
        done(response)
      },
      () => {
        this.#aborts.delete(abort)
        this.#fail("timeout", 1005, "timeout")
      },
    )
    this.#aborts.add(abort)
  }

  /**
   * @param {number|string} error
   * @param {number} code
   * @param {string} reason
   */
  #fail(error, code, reason) {
    // Not the end: the socket sees a connection in the making until its reconnect timer replaces this one.
    this.#stop(SOCKET_STATES.connecting)
    this.onerror(error)
    // A callback may have closed it for good.
    if (this.readyState === SOCKET_STATES.connecting) this.onclose(closeEvent(code, reason, false))
  }
}

/**
 * Text arrives as it is. A binary frame arrives as a string too: as its bytes when they happen to be UTF-8, in base64
 * when not. Its first byte tells the two apart, since no base64 text starts with a control character.
 *
 * @param {string} message
 * @returns {string|ArrayBuffer}
 */
function received(message) {
  if (message.startsWith("[") || message.startsWith("{")) return message
  return toArrayBuffer(message.charCodeAt(0) <= LAST_FRAME_KIND ? utf8(message) : fromBase64(message))
}

/** @param {any} _event */
function ignore(_event) {}
