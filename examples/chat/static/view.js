// What the page shows, and what it hears from keyboard and mouse. It knows nothing of sockets.

const LIMIT = 1000 // characters of a message; the server has the last word
const WARN_AT = 900
const MOST_SHOWN = 500
const GROUP_FOR = 5 * 60 // seconds
const TYPING_FOR = 3500
const MOST_NAMED = 10 // of those who are here; the others are counted

const find = (id) => document.getElementById(id)
const log = find("log")
const body = find("body")
const login = find("login")
const nameField = find("name")
const notices = find("notices")
const latest = find("latest")
const status = find("status")
const clock = new Intl.DateTimeFormat(undefined, {timeStyle: "short"})

let title = document.title
let unread = 0
let retryAt = 0

// Messages.

const shown = new Map()

/**
 * Shows a message, once: what comes back from the server is known by its user and id.
 *
 * @param {{user: string, id: string, body: string, at: number}} message `at` in seconds since 1970.
 * @param {string} me
 */
export function showMessage(message, me, {isSending = false, isNews = true} = {}) {
  const key = keyOf(message.user, message.id)
  const known = shown.get(key)
  if (known) {
    showDelivered(message.user, message.id)
    return
  }
  const isMine = message.user === me
  const element = find("message-template").content.cloneNode(true).firstElementChild
  shown.set(key, element)
  element.dataset.key = key
  element.dataset.user = message.user
  element.dataset.at = message.at
  element.classList.toggle("mine", isMine)
  paintAvatar(element.querySelector(".avatar"), message.user)
  element.querySelector(".author").textContent = isMine ? "You" : message.user
  element.querySelector(".text").textContent = message.body
  const when = new Date(message.at * 1000)
  const time = element.querySelector("time")
  time.dateTime = when.toISOString()
  time.textContent = clock.format(when)
  if (isMine) setState(element, isSending ? "sending" : "delivered")
  element.querySelector(".edit").addEventListener("click", () => {
    body.value = message.body
    remove(element)
    measure()
    body.focus()
  })
  typing.delete(message.user)
  paintTyping()
  append(element, {isMine})
  if (!isMine && isNews) countUnread()
}

/** Shows what was said while this page was not there; a screen reader is to read no old story when the page opens. */
export function showMessages(messages, me, {isNews}) {
  if (!isNews) log.setAttribute("aria-live", "off")
  for (const message of messages) showMessage(message, me, {isNews})
  if (!isNews) setTimeout(() => log.removeAttribute("aria-live"), 500)
}

export function showDelivered(user, id) {
  const element = shown.get(keyOf(user, id))
  if (element?.dataset.state !== "sending") return
  setState(element, "delivered")
  // Everybody sees the order in which the server got them, and what waits stands last.
  if (element.previousElementSibling?.dataset.state === "sending") append(element, {isMine: true})
}

export function showFault(user, id, fault) {
  const element = shown.get(keyOf(user, id))
  if (!element) return
  const length = [...element.querySelector(".text").textContent].length
  const reason =
    fault.field === "body" && length > LIMIT
      ? `a message has at most ${LIMIT} characters, this one has ${length}.`
      : (fault.message ?? fault.reason ?? "the server gave no reason.")
  setState(element, "refused", `Not delivered: ${reason}`)
}

export function showJoined(user) {
  const last = log.lastElementChild
  if (last?.classList.contains("notice")) {
    const names = last.dataset.names.split("\n").filter((name) => name !== user)
    sayJoined(last, [...names, user])
    return
  }
  const notice = document.createElement("p")
  notice.className = "notice"
  sayJoined(notice, [user])
  append(notice, {isMine: false})
}

function sayJoined(notice, names) {
  notice.dataset.names = names.join("\n")
  notice.textContent = `${new Intl.ListFormat("en").format(names)} joined`
}

function append(element, {isMine}) {
  find("welcome")?.remove()
  const wasAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80
  const waiting = element.dataset.state === "sending" ? null : log.querySelector("[data-state=sending]")
  log.insertBefore(element, waiting)
  group(element)
  if (waiting) group(waiting)
  while (log.childElementCount > MOST_SHOWN) remove(log.firstElementChild)
  if (isMine || wasAtEnd) scrollToEnd()
  else latest.hidden = false
}

function remove(element) {
  shown.delete(element.dataset.key)
  element.remove()
}

function setState(element, state, text) {
  element.dataset.state = state
  element.querySelector(".state-text").textContent = text ?? (state === "delivered" ? "Delivered" : waitingText())
  element.querySelector(".edit").hidden = state !== "refused"
}

function waitingText() {
  return status.dataset.state === "live" ? "Sending…" : "Waiting for the connection"
}

function keyOf(user, id) {
  return `${id} ${user}`
}

/** A message that goes on where the one before stopped need not name its author again. */
function group(element) {
  const {user, at} = element.dataset
  const before = element.previousElementSibling?.dataset
  element.classList.toggle("follows", Boolean(user) && before?.user === user && at - before.at < GROUP_FOR)
}

function scrollToEnd() {
  log.scrollTop = log.scrollHeight
  latest.hidden = true
}

latest.addEventListener("click", () => {
  scrollToEnd()
  body.focus()
})
log.addEventListener("scroll", () => {
  if (log.scrollHeight - log.scrollTop - log.clientHeight < 8) latest.hidden = true
})
// On a phone the keyboard takes half of the page away; the last message stays in sight.
new ResizeObserver(() => {
  if (latest.hidden) scrollToEnd()
}).observe(log)

// Names and their colours.

/** One colour per name, the same for everybody; the style sheet sees to light and dark. */
function paintAvatar(avatar, name) {
  let hash = 0
  for (const char of name) hash = (hash * 31 + char.codePointAt(0)) % 360
  avatar.style.setProperty("--hue", String(hash))
  const words = name.split(" ")
  const ends = words.length > 1 ? [words[0], words.at(-1)] : [name]
  avatar.textContent = ends.map((word) => [...word][0].toUpperCase()).join("")
}

export function rememberedName() {
  try {
    return localStorage.getItem("name") ?? ""
  } catch {
    return "" // a browser may forbid it; then the name is asked for every time
  }
}

export function rememberName(name) {
  try {
    localStorage.setItem("name", name)
  } catch {
    // As above.
  }
  const me = find("me")
  paintAvatar(me.querySelector(".avatar"), name)
  me.querySelector(".me-name").textContent = name
  me.ariaLabel = `${name}, change your name`
  me.hidden = false
}

export function askName(name) {
  nameField.value = name
  showNameFault("")
  login.showModal()
  nameField.select()
}

function showNameFault(text) {
  find("name-fault").textContent = text
  nameField.ariaInvalid = text ? "true" : "false"
}

export function onName(callback) {
  find("login-form").addEventListener("submit", async (event) => {
    event.preventDefault()
    const name = nameField.value.trim()
    try {
      if (!name) throw new Error("Please enter a name; one letter is enough.")
      await callback(name)
      login.close()
      body.focus()
    } catch (error) {
      showNameFault(error instanceof TypeError ? "The server does not answer. Please try again." : error.message)
      nameField.focus()
    }
  })
  find("me").addEventListener("click", () => askName(rememberedName()))
  // Without a name there is nothing to go back to. (Chromium asks nobody before the first Escape, so not on "cancel".)
  login.addEventListener("close", () => {
    if (find("me").hidden) askName("")
  })
}

// The connection.

/** @param {"connecting"|"live"|"offline"|"refused"} state */
export function showState(state, detail = "") {
  status.dataset.state = state
  find("status-text").textContent = {
    connecting: "Connecting…",
    live: "Live",
    offline: "Offline, reconnecting",
    refused: "Not admitted",
  }[state]
  find("status-detail").textContent = detail
  // A list that may be out of date says so.
  find("here-title").textContent = state === "live" ? "Here now" : "Last seen here"
  for (const text of log.querySelectorAll("[data-state=sending] .state-text")) text.textContent = waitingText()
}

export function showRetry(wait) {
  retryAt = Date.now() + wait
}

// Shown to the eye only: a screen reader would count along.
setInterval(() => {
  if (status.dataset.state !== "offline") return
  const seconds = Math.round((retryAt - Date.now()) / 1000)
  find("status-detail").textContent = seconds > 0 ? `in ${seconds} s` : "now"
}, 250)

export function showRoom(room) {
  if (room === "lobby") return
  find("room").textContent = room
  title = document.title = `${room} · Broadwing chat`
}

export function showRefused(room, reason) {
  showState("refused")
  const notice = document.createElement("p")
  notice.className = "notice refusal"
  const link = document.createElement("a")
  link.href = "/"
  link.textContent = "Go to the lobby"
  notice.append(`The room “${room}” did not let you in: ${reason}. `, link)
  append(notice, {isMine: false})
  find("composer").inert = true
  link.focus()
}

// Who is here. Not announced: the log says who joins, and to hear of everybody who leaves would be too much.

/** @param {{user: string, tabs: number}[]} people */
export function showPresent(people, me) {
  const sorted = [...people].sort((a, b) => (b.user === me) - (a.user === me) || a.user.localeCompare(b.user))
  const items = sorted.slice(0, MOST_NAMED).map(({user, tabs}) => {
    const item = document.createElement("li")
    const avatar = document.createElement("span")
    avatar.className = "avatar"
    avatar.ariaHidden = "true"
    paintAvatar(avatar, user)
    const name = document.createElement("span")
    name.className = "name"
    name.textContent = user
    item.append(avatar, name)
    if (user === me) item.append(" (you)")
    if (tabs > 1) item.append(`, ${tabs} tabs`)
    return item
  })
  const others = people.length - items.length
  if (others > 0) {
    const more = document.createElement("li")
    more.textContent = `and ${others} more`
    items.push(more)
  }
  find("here-list").replaceChildren(...items)
  find("here").hidden = people.length === 0
}

// Who is typing.

const typing = new Map()

export function showTyping(user) {
  clearTimeout(typing.get(user))
  typing.set(
    user,
    setTimeout(() => {
      typing.delete(user)
      paintTyping()
    }, TYPING_FOR),
  )
  paintTyping()
}

function paintTyping() {
  const names = [...typing.keys()]
  const who = names.length > 3 ? "Several people" : new Intl.ListFormat("en").format(names)
  find("typing").textContent = names.length ? `${who} ${names.length > 1 ? "are" : "is"} typing…` : ""
}

// Unread messages, counted in the title while nobody looks.

function isLookedAt() {
  return document.visibilityState === "visible" && document.hasFocus()
}

function countUnread() {
  if (isLookedAt()) return
  unread += 1
  document.title = `(${unread}) ${title}`
}

function forgetUnread() {
  if (!isLookedAt()) return
  unread = 0
  document.title = title
}

addEventListener("focus", forgetUnread)
document.addEventListener("visibilitychange", forgetUnread)

// Writing.

function measure() {
  const length = [...body.value].length
  const count = find("count")
  count.textContent = length >= WARN_AT ? `${length} of ${LIMIT} characters` : ""
  count.classList.toggle("over", length > LIMIT)
  // Grows with its text, up to the limit in the style sheet.
  body.style.height = "auto"
  body.style.height = `${body.scrollHeight + body.offsetHeight - body.clientHeight}px`
}

export function onSend(callback) {
  find("composer").addEventListener("submit", (event) => {
    event.preventDefault()
    const text = body.value.trim()
    body.focus()
    if (!text) return
    body.value = ""
    measure()
    callback(text)
  })
  body.addEventListener("keydown", (event) => {
    // While an input method composes, Enter ends the word and not the message.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return
    event.preventDefault()
    find("composer").requestSubmit()
  })
}

export function onTyping(callback) {
  body.addEventListener("input", () => {
    measure()
    if (body.value.trim()) callback()
  })
}

export function wantsNotices() {
  return notices.checked
}

export function onNotices(callback) {
  notices.addEventListener("change", () => callback(notices.checked))
}
