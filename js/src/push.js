import {closure} from "./query.js"

/**
 * One message that may be answered, and the callbacks that wait for the answer.
 *
 * `channel.push` and `channel.join` return it; `receive` is the part meant for applications.
 */
export class Push {
  /** @type {import("./types.js").Message|null} What was last handed to the socket. */
  #message = null
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #timer = undefined
  #replyBinding = -1

  /**
   * @param {import("./channel.js").Channel} channel
   * @param {string} event
   * @param {any} payload A value, or a function asked at every send.
   * @param {number} timeout Milliseconds.
   */
  constructor(channel, event, payload, timeout) {
    this.channel = channel
    this.event = event
    this.payload = closure(payload)
    this.timeout = timeout
    /** @type {string|null} */
    this.ref = null
    /** @type {{status: string, response: any}|null} */
    this.receivedResp = null
    /** @type {{status: string, callback: (response: any) => any}[]} */
    this.recHooks = []
    this.sent = false
  }

  /**
   * Runs `callback` when the answer has this status, at once if it already came.
   *
   * @param {string} status "ok", "error", "timeout", or a status of the application's own.
   * @param {(response?: any) => any} callback
   * @returns {this}
   */
  receive(status, callback) {
    if (this.hasReceived(status)) callback(this.receivedResp?.response)
    this.recHooks.push({status, callback})
    return this
  }

  /** @param {string} status */
  hasReceived(status) {
    return this.receivedResp?.status === status
  }

  /** Sends under a new ref; the time to answer runs from now. */
  send() {
    this.startTimeout()
    this.sent = true
    const {event, ref} = this
    const {topic, socket} = this.channel
    try {
      this.#message = {topic, event, payload: this.payload(), ref, join_ref: this.channel.joinRef()}
      socket.push(this.#message)
    } catch (error) {
      this.reset()
      throw error
    }
  }

  /** @param {number} timeout */
  resend(timeout) {
    this.timeout = timeout
    this.reset()
    this.send()
  }

  /** Waits under a new ref, from now on. */
  startTimeout() {
    this.#settle()
    this.ref = this.channel.socket.makeRef()
    this.#replyBinding = this.channel.on(this.channel.replyEventName(this.ref), (answer) => {
      this.#settle()
      this.receivedResp = answer
      for (const {status, callback} of [...this.recHooks]) {
        if (status === answer.status) callback(answer.response)
      }
    })
    this.#timer = setTimeout(() => this.trigger("timeout", {}), this.timeout)
  }

  cancelTimeout() {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /**
   * Answers in place of the server. A real answer that comes later is ignored.
   *
   * @param {string} status
   * @param {any} response
   */
  trigger(status, response) {
    if (this.ref !== null) this.channel.trigger(this.channel.replyEventName(this.ref), {status, response})
  }

  /** Forgets that it was sent, and keeps it from being sent if it still waits in the socket's buffer. */
  reset() {
    this.unqueue()
    this.#settle()
    this.ref = null
    this.receivedResp = null
    this.sent = false
  }

  /** Takes the message back if it still waits for the connection. */
  unqueue() {
    if (this.#message) this.channel.socket.unqueue(this.#message)
  }

  #settle() {
    this.cancelTimeout()
    if (this.ref !== null) this.channel.off(this.channel.replyEventName(this.ref), this.#replyBinding)
  }
}
