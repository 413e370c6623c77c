import {CHANNEL_EVENTS, CHANNEL_STATES} from "./constants.js"
import {raiseLater} from "./events.js"
import {Push} from "./push.js"
import {closure} from "./query.js"
import {Timer} from "./timer.js"

/**
 * One topic of a socket: joins it, rejoins it after errors, sends and receives its messages.
 *
 * Made by `socket.channel(topic, params)`.
 */
export class Channel {
  /** @type {{event: string, ref: number, callback: (payload: any, ref?: any, joinRef?: any) => any}[]} */
  #bindings = []
  #bindingRef = 0

  /**
   * @param {string} topic
   * @param {any} params Payload of the join, or a function asked at every join.
   * @param {import("./socket.js").Socket} socket
   */
  constructor(topic, params, socket) {
    /** @type {import("./types.js").ChannelState} */
    this.state = CHANNEL_STATES.closed
    this.topic = topic
    this.params = closure(params ?? {})
    this.socket = socket
    this.timeout = socket.timeout
    this.joinedOnce = false
    /** @type {Push[]} What was pushed while it could not be sent, in order. */
    this.pushBuffer = []
    this.joinPush = new Push(this, CHANNEL_EVENTS.join, this.params, this.timeout)
    this.rejoinTimer = new Timer(() => {
      if (this.socket.isConnected()) this.rejoin()
    }, socket.rejoinAfterMs)
    /** @type {string[]} Refs of the socket's callbacks below; `socket.remove` drops them. */
    this.stateChangeRefs = [
      socket.onOpen(() => {
        this.rejoinTimer.reset()
        if (this.isErrored()) this.rejoin()
      }),
    ]
    this.joinPush
      .receive("ok", () => this.#joined())
      .receive("error", () => this.#errored())
      .receive("timeout", () => this.#joinTimedOut())
    this.onClose(() => {
      this.socket.log("channel", `close ${this.topic} ${this.joinRef()}`)
      this.rejoinTimer.reset()
      this.joinPush.cancelTimeout()
      this.state = CHANNEL_STATES.closed
      this.socket.remove(this)
    })
    this.onError((reason) => {
      this.socket.log("channel", `error ${this.topic}`, reason)
      if (this.isLeaving() || this.isClosed()) return
      // The answer to this join will not come, and a join still queued must not be sent next to the rejoin.
      if (this.isJoining()) this.joinPush.reset()
      this.#errored()
    })
    this.on(CHANNEL_EVENTS.reply, (payload, ref) => this.trigger(this.replyEventName(ref), payload))
  }

  /**
   * Joins the topic. May be called once; the channel then rejoins by itself until it is left.
   *
   * @param {number} [timeout] Milliseconds.
   * @returns {Push}
   */
  join(timeout = this.timeout) {
    if (this.joinedOnce) {
      throw new Error(
        `tried to join multiple times: this channel of "${this.topic}" has been joined before; it rejoins by itself ` +
          "after errors, and after leave() a new one is made with socket.channel(topic, params)",
      )
    }
    this.timeout = timeout
    this.joinedOnce = true
    this.rejoin()
    return this.joinPush
  }

  /**
   * Joins again, under a new ref. The channel does so by itself after errors.
   *
   * @param {number} [timeout] Milliseconds.
   */
  rejoin(timeout = this.timeout) {
    if (this.isLeaving()) return
    this.socket.leaveOpenTopic(this.topic, this)
    this.state = CHANNEL_STATES.joining
    this.joinPush.resend(timeout)
  }

  /**
   * Sends an event, now or as soon as the channel is joined. When the timeout ends first, it is not sent any more.
   *
   * @param {string} event
   * @param {any} [payload] Any JSON value, or an ArrayBuffer or typed array for a binary frame.
   * @param {number} [timeout] Milliseconds.
   */
  push(event, payload, timeout = this.timeout) {
    if (!this.joinedOnce) {
      throw new Error(
        `tried to push '${event}' to '${this.topic}' before joining: call channel.join() first; ` +
          "what is pushed until the join is answered is kept and sent afterwards",
      )
    }
    const body = payload ?? {}
    const push = new Push(this, event, () => body, timeout)
    if (this.canPush()) {
      push.send()
    } else {
      push.startTimeout()
      push.receive("timeout", () => this.#unbuffer(push))
      this.pushBuffer.push(push)
    }
    return push
  }

  /**
   * Leaves the topic. The channel is closed at once, without waiting for the server's word.
   *
   * @param {number} [timeout] Milliseconds.
   */
  leave(timeout = this.timeout) {
    this.rejoinTimer.reset()
    this.joinPush.cancelTimeout()
    this.joinPush.unqueue()
    // With its connection the server forgot the join; to be told later, on the next one, would mean nothing to it.
    const knownToServer = this.socket.isConnected() && (this.isJoined() || this.isJoining())
    this.state = CHANNEL_STATES.leaving
    const close = () => {
      this.socket.log("channel", `leave ${this.topic}`)
      this.trigger(CHANNEL_EVENTS.close, "leave")
    }
    const leavePush = new Push(this, CHANNEL_EVENTS.leave, {}, timeout)
    leavePush.receive("ok", close).receive("timeout", close)
    if (knownToServer) leavePush.send()
    else leavePush.startTimeout()
    leavePush.trigger("ok", {})
    return leavePush
  }

  /**
   * @param {string} event
   * @param {(payload: any, ref?: any, joinRef?: any) => any} callback
   * @returns {number} For `off(event, ref)`.
   */
  on(event, callback) {
    const ref = this.#bindingRef++
    this.#bindings.push({event, ref, callback})
    return ref
  }

  /**
   * @param {string} event
   * @param {number} [ref] From `on`; without it all callbacks of the event go.
   */
  off(event, ref) {
    this.#bindings = this.#bindings.filter((bind) => bind.event !== event || (ref !== undefined && bind.ref !== ref))
  }

  /** @param {(payload: any, ref?: any, joinRef?: any) => any} callback */
  onClose(callback) {
    return this.on(CHANNEL_EVENTS.close, callback)
  }

  /** @param {(reason?: any) => any} callback */
  onError(callback) {
    return this.on(CHANNEL_EVENTS.error, (reason) => callback(reason))
  }

  /**
   * Hook to be overridden: sees every event of the channel, internal ones too, and returns the payload that the
   * callbacks get.
   *
   * @param {string} _event
   * @param {any} payload
   * @param {any} [_ref]
   * @param {any} [_joinRef]
   * @returns {any}
   */
  onMessage(_event, payload, _ref, _joinRef) {
    return payload
  }

  canPush() {
    return this.socket.isConnected() && this.isJoined()
  }

  isClosed() {
    return this.state === CHANNEL_STATES.closed
  }

  isErrored() {
    return this.state === CHANNEL_STATES.errored
  }

  isJoined() {
    return this.state === CHANNEL_STATES.joined
  }

  isJoining() {
    return this.state === CHANNEL_STATES.joining
  }

  isLeaving() {
    return this.state === CHANNEL_STATES.leaving
  }

  joinRef() {
    return this.joinPush.ref
  }

  /** @param {any} ref */
  replyEventName(ref) {
    return `chan_reply_${ref}`
  }

  /**
   * Whether a message from the wire is for this channel and for its present join.
   *
   * @param {string} topic
   * @param {string} event
   * @param {any} payload
   * @param {any} joinRef
   */
  isMember(topic, event, payload, joinRef) {
    if (topic !== this.topic) return false
    if (!joinRef || joinRef === this.joinRef()) return true
    this.socket.log("channel", "dropping outdated message", {topic, event, payload, joinRef})
    return false
  }

  /**
   * Runs the callbacks of an event, also those that one of them removes.
   *
   * @param {string} event
   * @param {any} [payload]
   * @param {any} [ref]
   * @param {any} [joinRef]
   */
  trigger(event, payload, ref, joinRef) {
    const handled = this.onMessage(event, payload, ref, joinRef)
    if (payload && !handled) {
      throw new Error(
        `channel.onMessage returned ${handled} for "${event}" on "${this.topic}"; ` +
          "it must return the payload, changed or not",
      )
    }
    for (const bind of this.#bindings.filter((candidate) => candidate.event === event)) {
      bind.callback(handled, ref, joinRef || this.joinRef())
    }
  }

  #joined() {
    this.state = CHANNEL_STATES.joined
    this.rejoinTimer.reset()
    const waiting = this.pushBuffer
    this.pushBuffer = []
    for (const push of waiting) {
      try {
        push.send()
      } catch (error) {
        raiseLater(error)
      }
    }
  }

  #errored() {
    this.state = CHANNEL_STATES.errored
    if (this.socket.isConnected()) this.rejoinTimer.scheduleTimeout()
  }

  #joinTimedOut() {
    this.socket.log("channel", `timeout ${this.topic} (${this.joinRef()})`, this.joinPush.timeout)
    this.joinPush.unqueue()
    // The server may still be working on the join; should it succeed, nobody would listen.
    if (this.socket.isConnected()) new Push(this, CHANNEL_EVENTS.leave, {}, this.timeout).send()
    this.#errored()
    // What this join may still bring is outdated.
    this.joinPush.ref = null
  }

  /** @param {Push} push */
  #unbuffer(push) {
    this.pushBuffer = this.pushBuffer.filter((waiting) => waiting !== push)
  }
}
