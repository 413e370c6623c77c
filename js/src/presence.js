import {raiseLater} from "./events.js"

/**
 * @typedef {Record<string, any> & {phx_ref: string}} PresenceMeta One tracking of a key, such as one tab of a user.
 * @typedef {Record<string, any> & {metas: PresenceMeta[]}} PresenceEntry All that is known of one key.
 * @typedef {Record<string, PresenceEntry>} PresenceState Who is there, by key; those made here have no prototype.
 * @typedef {{joins: PresenceState, leaves: PresenceState}} PresenceDiff
 *
 * Callbacks get entries as `any`, so that they can name the type that the server's entries really have.
 *
 * @callback OnJoin
 * @param {string} key
 * @param {any} current The entry before; undefined for a key that was not there.
 * @param {any} joined What came, with the new metas only.
 * @returns {any}
 *
 * @callback OnLeave
 * @param {string} key
 * @param {any} current The entry after, with the metas that stay; none when the key is gone.
 * @param {any} left What went, with those metas only.
 * @returns {any}
 *
 * @typedef {{key: string, joined?: PresenceEntry, left?: PresenceEntry, current: any}} Change
 */

/**
 * Who is on a channel's topic, kept from the `presence_state` and `presence_diff` that the server sends.
 *
 * @example
 * const presence = new Presence(channel)
 * presence.onSync(() => show(presence.list((id, {metas}) => `${id} (${metas.length})`)))
 * channel.join()
 */
export class Presence {
  /** @type {OnJoin} */
  #onJoin = () => {}
  /** @type {OnLeave} */
  #onLeave = () => {}
  /** @type {() => any} */
  #onSync = () => {}
  /** @type {any} The join that `pendingDiffs` came with. */
  #pendingRef = null

  /**
   * @param {import("./channel.js").Channel} channel
   * @param {{events?: {state?: string, diff?: string}}} [opts] Names of the events, where the server's are others.
   */
  constructor(channel, {events: {state = "presence_state", diff = "presence_diff"} = {}} = {}) {
    this.channel = channel
    /** @type {PresenceState} */
    this.state = bare()
    /** @type {PresenceDiff[]} Came before the state they belong to. */
    this.pendingDiffs = []
    /** @type {any} The join whose state has come. */
    this.joinRef = null
    channel.on(state, (/** @type {PresenceState} */ newState) => this.#begin(newState))
    channel.on(diff, (/** @type {PresenceDiff} */ newDiff) => this.#follow(newDiff))
  }

  /** @param {OnJoin} callback Takes the place of the one before. */
  onJoin(callback) {
    this.#onJoin = callback
  }

  /** @param {OnLeave} callback Takes the place of the one before. */
  onLeave(callback) {
    this.#onLeave = callback
  }

  /** @param {() => any} callback Called when a message of the server has been worked in; takes the place of the one before. */
  onSync(callback) {
    this.#onSync = callback
  }

  /**
   * @template [T=any]
   * @param {(key: string, entry: any) => T} [by] What to list of each; its entry by default.
   */
  list(by) {
    return Presence.list(this.state, by)
  }

  /** Whether the state of the channel's present join has still to come. */
  inPendingSyncState() {
    return !this.joinRef || this.joinRef !== this.channel.joinRef()
  }

  /**
   * The state that follows when the server tells the whole of its own; metas are compared by `phx_ref`. Neither
   * argument is changed.
   *
   * @param {any} state A `PresenceState`.
   * @param {any} newState A `PresenceState`.
   * @param {OnJoin} [onJoin]
   * @param {OnLeave} [onLeave]
   * @returns {any} A `PresenceState`.
   */
  static syncState(state, newState, onJoin, onLeave) {
    return Presence.syncDiff(state, difference(state, newState), onJoin, onLeave)
  }

  /**
   * The state that follows when the server tells what changed. Neither argument is changed.
   *
   * @param {any} state A `PresenceState`.
   * @param {{joins: any, leaves: any}} diff Two `PresenceState`s.
   * @param {OnJoin} [onJoin] Called when all is worked in, as `onLeave` is.
   * @param {OnLeave} [onLeave]
   * @returns {any} A `PresenceState`.
   */
  static syncDiff(state, diff, onJoin, onLeave) {
    const next = bare(state)
    for (const change of merge(next, diff)) report(change, onJoin, onLeave)
    return next
  }

  /**
   * @template [T=any]
   * @param {object} state
   * @param {(key: string, entry: any) => T} [chooser]
   * @returns {T[]} In the order of the object's keys: numbers first, then as they came.
   */
  static list(state, chooser = (_key, entry) => entry) {
    return Object.entries(state).map(([key, entry]) => chooser(key, entry))
  }

  /** @param {PresenceState} newState */
  #begin(newState) {
    const joinRef = this.channel.joinRef()
    const state = bare(this.state)
    const changes = merge(state, difference(state, newState))
    // What waits from an earlier join is older than this state: worked in, it would bring back who has left since.
    const waiting = this.#pendingRef === joinRef ? this.pendingDiffs : []
    this.pendingDiffs = []
    for (const diff of waiting) changes.push(...merge(state, diff))
    this.joinRef = joinRef
    this.state = state
    this.#tell(changes)
  }

  /** @param {PresenceDiff} diff */
  #follow(diff) {
    if (!this.inPendingSyncState()) return this.#tell(merge(this.state, diff))
    const joinRef = this.channel.joinRef()
    if (this.#pendingRef !== joinRef) this.pendingDiffs = []
    this.#pendingRef = joinRef
    this.pendingDiffs.push(diff)
  }

  /** @param {Change[]} changes */
  #tell(changes) {
    for (const change of changes) attempt(() => report(change, this.#onJoin, this.#onLeave))
    attempt(this.#onSync)
  }
}

/**
 * A copy without prototype. Users may choose their key, and `__proto__` or `constructor` is one like another here.
 *
 * @param {PresenceState} [state]
 * @returns {PresenceState}
 */
function bare(state) {
  return Object.assign(Object.create(null), state)
}

/**
 * The diff from one state to another.
 *
 * @param {PresenceState} state
 * @param {PresenceState} newState
 * @returns {PresenceDiff}
 */
function difference(state, newState) {
  const old = bare(state)
  const joins = bare()
  const leaves = bare()
  for (const [key, entry] of Object.entries(newState)) {
    const current = old[key]
    delete old[key]
    const joined = current ? without(entry, current) : entry
    const left = current && without(current, entry)
    if (joined.metas.length > 0 || !current) joins[key] = joined
    if (left?.metas.length) leaves[key] = left
  }
  return {joins, leaves: Object.assign(old, leaves)}
}

/**
 * Works a diff into a state, in place: a copy of tens of thousands of keys takes as many milliseconds. Entries are
 * replaced and never changed, as callbacks and the diff have them too.
 *
 * @param {PresenceState} state Without prototype.
 * @param {PresenceDiff} diff
 * @returns {Change[]} What to report, in order.
 */
function merge(state, {joins, leaves}) {
  /** @type {Change[]} */
  const changes = []
  for (const [key, joined] of Object.entries(joins)) {
    const current = state[key]
    const kept = current ? without(current, joined).metas : []
    state[key] = {...joined, metas: [...kept, ...joined.metas]}
    changes.push({key, joined, current})
  }
  for (const [key, left] of Object.entries(leaves)) {
    if (!state[key]) continue
    const current = without(state[key], left)
    if (current.metas.length > 0) state[key] = current
    else delete state[key]
    changes.push({key, left, current})
  }
  return changes
}

/**
 * An entry with those of its metas that the other does not have.
 *
 * @param {PresenceEntry} entry
 * @param {PresenceEntry} other
 * @returns {PresenceEntry}
 */
function without(entry, other) {
  const refs = new Set(other.metas.map((meta) => meta.phx_ref))
  return {...entry, metas: entry.metas.filter((meta) => !refs.has(meta.phx_ref))}
}

/**
 * @param {Change} change
 * @param {OnJoin} [onJoin]
 * @param {OnLeave} [onLeave]
 */
function report({key, joined, left, current}, onJoin, onLeave) {
  if (joined) onJoin?.(key, current, joined)
  if (left) onLeave?.(key, current, left)
}

/** @param {() => any} callback One that fails keeps nothing from the others. */
function attempt(callback) {
  try {
    callback()
  } catch (error) {
    raiseLater(error)
  }
}
