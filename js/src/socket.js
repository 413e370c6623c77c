import {toBase64, utf8} from "./bytes.js"
import {Channel} from "./channel.js"
import {
  AUTH_TOKEN_PREFIX,
  CHANNEL_EVENTS,
  CLOSE_NORMAL,
  DEFAULT_TIMEOUT,
  HEARTBEAT_INTERVAL,
  LONGPOLLER_TIMEOUT,
  SOCKET_STATES,
  TRANSPORTS,
  VSN,
} from "./constants.js"
import {closeEvent, raiseLater} from "./events.js"
import {Fallback} from "./fallback.js"
import {Heartbeat} from "./heartbeat.js"
import {LongPoll} from "./longpoll.js"
import {followPage, pageIsHidden} from "./page.js"
import {appendParams, closure} from "./query.js"
import {Serializer} from "./serializer.js"
import {Timer, reconnectAfterMs, rejoinAfterMs} from "./timer.js"

/** @typedef {"open"|"close"|"error"|"message"} SocketEvent */

/**
 * One connection to the server, kept up across failures, and the channels that share it.
 */
export class Socket {
  /** @type {Record<SocketEvent, {ref: string, callback: (...args: any[]) => any}[]>} */
  #callbacks = {open: [], close: [], error: [], message: []}
  /** @type {import("./types.js").Transport|null} The connection whose end has not been reported yet. */
  #live = null
  /** @type {import("./types.js").Transport|null} The connection being torn down. */
  #closing = null
  /** Counts connects and disconnects, so that what was begun before one of them can tell that it is outdated. */
  #clock = 0
  #heartbeat = new Heartbeat(this, () => this.#heartbeatTimedOut())
  /** @type {(() => void)|null} */
  #leavePage = null
  /** @type {import("./types.js").Transport|null} Made since the page was last hidden: none better is to be had. */
  #fresh = null
  /** Clock of the disconnect made because the page was hidden. */
  #hiddenAt = -1

  /**
   * @param {string} endPoint URL or path of the socket's mount, such as "/socket" or "wss://example.com/socket".
   * @param {import("./types.js").SocketOptions} [opts]
   */
  constructor(endPoint, opts = {}) {
    this.endPoint = `${endPoint}/${TRANSPORTS.websocket}`
    /** @type {Channel[]} */
    this.channels = []
    /** @type {import("./types.js").Message[]} */
    this.sendBuffer = []
    this.ref = 0
    /** @type {import("./types.js").Transport|null} */
    this.conn = null
    /** @type {import("./types.js").TransportClass} */
    this.transport = opts.transport ?? globalThis.WebSocket ?? LongPoll
    this.timeout = opts.timeout ?? DEFAULT_TIMEOUT
    this.heartbeatIntervalMs = opts.heartbeatIntervalMs ?? HEARTBEAT_INTERVAL
    this.longpollerTimeout = opts.longpollerTimeout ?? LONGPOLLER_TIMEOUT
    this.reconnectAfterMs = opts.reconnectAfterMs ?? reconnectAfterMs
    this.rejoinAfterMs = opts.rejoinAfterMs ?? rejoinAfterMs
    this.params = closure(opts.params ?? {})
    this.authToken = closure(opts.authToken)
    this.vsn = opts.vsn ?? VSN
    const custom = this.transport === LongPoll ? {} : opts
    this.encode = custom.encode ?? Serializer.encode
    this.decode = custom.decode ?? Serializer.decode
    this.binaryType = opts.binaryType ?? "arraybuffer"
    this.logger = opts.logger ?? (opts.debug ? logToConsole : null)
    this.closeWasClean = false
    this.establishedConnections = 0
    this.reconnectTimer = new Timer(() => this.#reconnect(), this.reconnectAfterMs)
    this.longPollFallbackMs = opts.longPollFallbackMs
    this.fallback = new Fallback(this, opts.longPollFallbackMs ?? 0, opts.sessionStorage ?? browserStorage())
  }

  /** The transport class to hand to `replaceTransport`. */
  getLongPollTransport() {
    return LongPoll
  }

  /**
   * Connects, unless that has been done already. Lost connections are made again by themselves.
   *
   * @param {any} [params] Deprecated: give them to the constructor.
   */
  connect(params) {
    if (params) {
      this.log("transport", "passing params to connect is deprecated; give them to new Socket(url, {params})", params)
      this.params = closure(params)
    }
    const busy = this.#live !== null || this.reconnectTimer.pending
    if (this.conn && busy && this.#closing !== this.conn) return
    this.#leavePage ??= this.#followPage()
    if (this.longPollFallbackMs && this.transport !== LongPoll) this.fallback.connect(() => this.#connect())
    else this.#connect()
  }

  /**
   * Closes the connection for good, or until the next `connect`.
   *
   * @param {() => void} [callback] Runs when the connection is closed.
   * @param {number} [code] Close code for the server.
   * @param {string} [reason]
   */
  disconnect(callback, code, reason) {
    this.#leavePage?.()
    this.#leavePage = null
    this.#disconnect(callback, code, reason)
  }

  /**
   * Drops the connection and uses another kind from the next `connect` on.
   *
   * @param {import("./types.js").TransportClass} transport
   */
  replaceTransport(transport) {
    this.#clock += 1
    this.closeWasClean = true
    this.fallback.cancel()
    this.reconnectTimer.reset()
    const conn = this.conn
    this.conn = null
    this.transport = transport
    if (!conn) return
    silence(conn)
    // Before a first connection there is nothing to tell the channels: their joins still wait to be sent.
    if (this.establishedConnections > 0) this.#closed(conn, closeEvent(CLOSE_NORMAL, "transport replaced", true))
    else this.#live = null
    conn.close()
  }

  /** @returns {"ws"|"wss"} */
  protocol() {
    return location.protocol.startsWith("https") ? "wss" : "ws"
  }

  /** The URL a connection made now would use. */
  endPointURL() {
    const url = appendParams(appendParams(this.endPoint, this.params()), {vsn: this.vsn})
    if (!url.startsWith("/")) return url
    if (typeof location === "undefined") {
      throw new TypeError(
        `there is no page that "${this.endPoint}" could belong to; give a full URL such as ws://localhost:4000/socket`,
      )
    }
    if (url.startsWith("//")) return `${this.protocol()}:${url}`
    return `${this.protocol()}://${location.host}${url}`
  }

  /**
   * @param {() => any} callback
   * @returns {string} For `off`.
   */
  onOpen(callback) {
    return this.#on("open", callback)
  }

  /** @param {(event: any) => any} callback */
  onClose(callback) {
    return this.#on("close", callback)
  }

  /** @param {(error: any, transport: import("./types.js").TransportClass, established: number) => any} callback */
  onError(callback) {
    return this.#on("error", callback)
  }

  /** @param {(message: import("./types.js").Message) => any} callback Called after the channels' callbacks. */
  onMessage(callback) {
    return this.#on("message", callback)
  }

  /** @param {string[]} refs What onOpen, onClose, onError and onMessage returned. */
  off(refs) {
    for (const event of /** @type {SocketEvent[]} */ (Object.keys(this.#callbacks))) {
      this.#callbacks[event] = this.#callbacks[event].filter(({ref}) => !refs.includes(ref))
    }
  }

  /** @returns {import("./types.js").ConnectionState} */
  connectionState() {
    switch (this.conn?.readyState) {
      case SOCKET_STATES.connecting:
        return "connecting"
      case SOCKET_STATES.open:
        return "open"
      case SOCKET_STATES.closing:
        return "closing"
      default:
        return "closed"
    }
  }

  isConnected() {
    return this.conn?.readyState === SOCKET_STATES.open
  }

  /**
   * @param {string} topic
   * @param {any} [params] Payload of the join, or a function asked at every join.
   */
  channel(topic, params = {}) {
    const channel = new Channel(topic, params, this)
    this.channels.push(channel)
    return channel
  }

  /** @param {Channel} channel */
  remove(channel) {
    this.off(channel.stateChangeRefs)
    this.channels = this.channels.filter((other) => other !== channel)
  }

  /**
   * The server knows one channel per topic and connection: the last one joined.
   *
   * @param {string} topic
   * @param {Channel} [except] The channel that is about to join.
   */
  leaveOpenTopic(topic, except) {
    for (const channel of [...this.channels]) {
      if (channel === except || channel.topic !== topic) continue
      if (!channel.isJoined() && !channel.isJoining() && !channel.isErrored()) continue
      this.log("transport", `leaving duplicate topic "${topic}"`)
      channel.leave()
    }
  }

  /**
   * Sends a message, or keeps it until the connection is open.
   *
   * @param {any} message A `Message`, its payload and refs as the encoder takes them.
   */
  push(message) {
    if (this.hasLogger()) {
      const {topic, event, payload, ref, join_ref} = message
      this.log("push", `${topic} ${event} (${join_ref}, ${ref})`, payload)
    }
    if (this.isConnected()) this.#send(message)
    else this.sendBuffer.push(message)
  }

  /**
   * Takes a message back if it still waits for the connection.
   *
   * @param {import("./types.js").Message} message
   */
  unqueue(message) {
    this.sendBuffer = this.sendBuffer.filter((waiting) => waiting !== message)
  }

  /** Sends what waited for the connection, in order. */
  flushSendBuffer() {
    if (!this.isConnected()) return
    const waiting = this.sendBuffer
    this.sendBuffer = []
    for (const message of waiting) {
      try {
        this.#send(message)
      } catch (error) {
        raiseLater(error)
      }
    }
  }

  /** The next ref; callbacks and messages share the counter. */
  makeRef() {
    // Past 2^53 adding one changes nothing.
    this.ref = this.ref + 1 === this.ref ? 0 : this.ref + 1
    return String(this.ref)
  }

  /**
   * Measures the time to the server and back.
   *
   * @param {(rtt: number) => any} callback Gets milliseconds; never called when the connection closes before.
   * @returns {boolean} False when not connected.
   */
  ping(callback) {
    if (!this.isConnected()) return false
    this.#heartbeat.ping(callback)
    return true
  }

  /**
   * Hands a line to the logger, if there is one.
   *
   * @param {string} kind
   * @param {string} message
   * @param {any} [data]
   */
  log(kind, message, data) {
    this.logger?.(kind, message, data)
  }

  hasLogger() {
    return this.logger !== null
  }

  #connect() {
    const clock = ++this.#clock
    this.reconnectTimer.cancel()
    if (this.conn) silence(this.conn)
    // A connection still being torn down has no one left to report its end.
    if (this.#live) this.#closed(this.#live, closeEvent(CLOSE_NORMAL, "replaced by a new connection", true))
    if (clock !== this.#clock) return // a callback connected or disconnected
    this.closeWasClean = false
    /** @type {import("./types.js").Transport} */
    const conn = new this.transport(this.endPointURL(), this.#protocols())
    conn.binaryType = this.binaryType
    conn.timeout = this.longpollerTimeout
    conn.onopen = () => this.#opened(conn)
    conn.onerror = (error) => this.#failed(conn, error)
    conn.onmessage = (event) => this.#received(conn, event)
    conn.onclose = (event) => this.#closed(conn, event)
    this.conn = this.#live = this.#fresh = conn
  }

  #protocols() {
    const token = this.authToken()
    if (!token) return undefined
    return ["phoenix", AUTH_TOKEN_PREFIX + toBase64(utf8(token)).replaceAll("=", "")]
  }

  #reconnect() {
    if (pageIsHidden()) {
      this.log("transport", "not reconnecting while the page is hidden")
      return this.#teardown()
    }
    const clock = this.#clock
    this.#teardown(() => {
      if (clock !== this.#clock) return // someone connected or disconnected
      try {
        this.connect()
      } catch (error) {
        // Parameters or a token that cannot be had now may be there at the next try.
        this.reconnectTimer.scheduleTimeout()
        throw error
      }
    })
  }

  /**
   * @param {() => void} [callback]
   * @param {number} [code]
   * @param {string} [reason]
   */
  #disconnect(callback, code, reason) {
    this.#clock += 1
    this.closeWasClean = true
    this.fallback.cancel()
    this.reconnectTimer.reset()
    this.#teardown(callback, code, reason)
  }

  /**
   * Lets what was sent leave, closes, and waits for the end; both within limits, as a dead network never answers.
   *
   * @param {() => void} [callback]
   * @param {number} [code]
   * @param {string} [reason]
   */
  #teardown(callback, code, reason) {
    const conn = this.conn
    if (!conn) return callback?.()
    this.#closing = conn
    this.#heartbeat.stop()
    // What a closed connection still holds will never leave it.
    waitUntil(() => !conn.bufferedAmount || conn.readyState === SOCKET_STATES.closed, () => {
      if (code) conn.close(code, reason ?? "")
      else conn.close()
      waitUntil(() => conn.readyState === SOCKET_STATES.closed, () => {
        if (this.#closing === conn) this.#closing = null
        if (this.conn === conn) {
          silence(conn)
          this.conn = null
          // Code 1000: whoever asked for the teardown decides what comes next.
          this.#closed(conn, closeEvent(CLOSE_NORMAL, reason ?? "", false))
        }
        callback?.()
      })
    })
  }

  /** @param {import("./types.js").Transport} conn */
  #opened(conn) {
    if (conn !== this.conn || conn === this.#closing) return
    this.log("transport", `connected to ${this.endPoint}`)
    this.establishedConnections += 1
    this.reconnectTimer.reset()
    if (!conn.skipHeartbeat) this.#heartbeat.start()
    this.flushSendBuffer()
    this.#notify("open")
  }

  /**
   * @param {import("./types.js").Transport} conn
   * @param {any} event
   */
  #closed(conn, event) {
    if (conn !== this.#live) return
    this.#live = null
    this.log("transport", "close", event)
    this.#failChannels("connection_closed")
    this.#heartbeat.reset()
    if (!this.closeWasClean && event.code !== CLOSE_NORMAL) this.reconnectTimer.scheduleTimeout()
    this.#notify("close", event)
  }

  /**
   * @param {import("./types.js").Transport} conn
   * @param {any} error
   */
  #failed(conn, error) {
    // A connection that is closed while it is being made reports an error; nothing went wrong then.
    if (conn !== this.conn || conn === this.#closing) return
    this.log("transport", "error", error)
    const transport = this.transport
    const established = this.establishedConnections
    this.#notify("error", error, transport, established)
    if (transport === this.transport || established > 0) this.#failChannels("connection_error")
  }

  /**
   * @param {import("./types.js").Transport} conn
   * @param {{data: any}} event
   */
  #received(conn, {data}) {
    const {readyState} = conn
    this.decode(data, (message) => {
      // A decoder may take its time, and come to its end on another connection or on none.
      if (conn !== this.conn || conn.readyState > readyState) return
      const {topic, event, payload, ref, join_ref} = message
      if (this.hasLogger()) this.log("receive", `${payload?.status ?? ""} ${topic} ${event} (${ref})`.trim(), payload)
      this.#heartbeat.answered(ref)
      for (const channel of [...this.channels]) {
        if (channel.isMember(topic, event, payload, join_ref)) channel.trigger(event, payload, ref, join_ref)
      }
      this.#notify("message", message)
      this.#heartbeat.pong(ref)
    })
  }

  /** @param {import("./types.js").Message} message */
  #send(message) {
    const {conn} = this
    this.encode(message, (encoded) => {
      // An encoder may take its time, and what was meant for one connection means nothing to the next.
      if (conn === this.conn && this.isConnected()) conn?.send(encoded)
    })
  }

  /** @param {string} reason */
  #failChannels(reason) {
    for (const channel of [...this.channels]) {
      if (channel.isErrored() || channel.isLeaving() || channel.isClosed()) continue
      channel.trigger(CHANNEL_EVENTS.error, {source: "transport", reason})
    }
  }

  #heartbeatTimedOut() {
    this.log("transport", "heartbeat timeout: the server did not answer; closing and connecting again")
    const clock = this.#clock
    this.#failChannels("heartbeat_timeout")
    if (clock !== this.#clock) return // a callback disconnected
    this.closeWasClean = false
    this.#teardown(() => {
      if (clock === this.#clock) this.reconnectTimer.scheduleTimeout()
    }, CLOSE_NORMAL, "heartbeat timeout")
  }

  #followPage() {
    return followPage({
      hide: () => {
        if (!this.conn) return
        this.#disconnect()
        this.#hiddenAt = this.#clock
      },
      show: () => {
        if (this.#hiddenAt !== this.#clock) return
        this.#hiddenAt = -1
        this.connect()
      },
      seen: () => {
        if (pageIsHidden()) {
          this.#fresh = null
          return
        }
        const onItsWay = this.connectionState() === "connecting" && this.conn === this.#fresh
        if (!this.isConnected() && !this.closeWasClean && !onItsWay) this.#reconnect()
      },
    })
  }

  /**
   * @param {SocketEvent} event
   * @param {(...args: any[]) => any} callback
   */
  #on(event, callback) {
    const ref = this.makeRef()
    this.#callbacks[event].push({ref, callback})
    return ref
  }

  /**
   * @param {SocketEvent} event
   * @param {any[]} args
   */
  #notify(event, ...args) {
    for (const {callback} of this.#callbacks[event]) callback(...args)
  }
}

/**
 * Polls a condition with growing pauses, five times at most; 1.5 s in all.
 *
 * @param {() => boolean} condition
 * @param {() => void} callback
 * @param {number} [tries]
 */
function waitUntil(condition, callback, tries = 1) {
  if (tries === 5 || condition()) return callback()
  setTimeout(() => waitUntil(condition, callback, tries + 1), 150 * tries)
}

/** @param {import("./types.js").Transport} conn */
function silence(conn) {
  conn.onopen = conn.onerror = conn.onmessage = conn.onclose = () => {}
}

/**
 * @param {string} kind
 * @param {string} message
 * @param {any} [data]
 */
function logToConsole(kind, message, data) {
  console.log(`${kind}: ${message}`, data)
}

function browserStorage() {
  try {
    return globalThis.sessionStorage ?? null
  } catch {
    return null // blocked together with the cookies
  }
}
