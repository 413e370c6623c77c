import assert from "node:assert/strict"
import {afterEach, beforeEach, test} from "node:test"

import {FakePage, connected, fakeSocket, fakeTime, fakeTransport, pass, realTime} from "../support/fakes.js"

let page

beforeEach(() => {
  fakeTime()
  page = new FakePage()
  page.install()
})
afterEach(() => {
  page.remove()
  realTime()
})

const connections = (socket) => socket.transport.instances.length
const dispatch = (type) => page.dispatchEvent(new Event(type))

test("a page that becomes visible does not connect a socket that never was", () => { // checklist 245
  const socket = fakeSocket()
  page.hide()
  page.reveal()
  pass(1000)
  assert.equal(connections(socket), 0)
})

test("a connection lost while hidden is made again when the page is visible, once", () => { // checklist 245
  const {socket, conn} = connected()
  page.hide()
  conn.drop()
  pass(10_000, 100)
  assert.equal(connections(socket), 1)
  assert.equal(socket.conn, null)
  page.reveal()
  assert.equal(connections(socket), 2)
  socket.conn.open()
  pass(10_000, 100)
  assert.equal(connections(socket), 2)
  assert.equal(socket.isConnected(), true)
})

test("becoming visible does not wait for the back-off, and the back-off does not disturb the new connection", () => {
  const {socket, conn} = connected({reconnectAfterMs: () => 5000})
  conn.drop()
  page.hide()
  page.reveal()
  assert.equal(connections(socket), 2)
  pass(6000)
  assert.equal(connections(socket), 2)
  assert.equal(socket.connectionState(), "connecting")
})

test("a socket that was disconnected stays so when the page becomes visible", () => { // checklist 245
  const {socket} = connected()
  socket.disconnect()
  page.hide()
  page.reveal()
  pass(1000)
  assert.equal(connections(socket), 1)
})

test("after replaceTransport the next connect is left to who replaced it", () => {
  const other = fakeTransport()
  const socket = fakeSocket()
  socket.connect()
  socket.conn.confirmsClose = false
  page.hide()
  page.reveal()
  pass(100)
  socket.replaceTransport(other)
  pass(10_000, 100)
  page.hide()
  page.reveal()
  assert.equal(other.instances.length, 0)
})

test("a page that was frozen and is told no more than that it goes on connects again", () => {
  const {socket, conn} = connected()
  page.hide()
  conn.drop()
  pass(10_000, 100)
  assert.equal(connections(socket), 1)
  page.resume()
  assert.equal(connections(socket), 2)
})

test("a page that is told twice that it is seen connects once", () => {
  const {socket, conn} = connected()
  page.hide()
  conn.drop()
  pass(10_000, 100)
  page.resume()
  page.reveal()
  assert.equal(connections(socket), 2)
  page.hide()
  page.reveal()
  pass(5000)
  assert.equal(connections(socket), 3, "after a time in the background an attempt may hang, and is made anew")
  page.resume()
  pass(5000)
  assert.equal(connections(socket), 3)
})

test("whether the page is hidden is asked when a reconnect is due, and not remembered", () => {
  const {socket, conn} = connected()
  page.hide()
  page.document.visibilityState = "visible" // and nobody was told
  conn.drop()
  pass(20)
  assert.equal(connections(socket), 2)
})

test("an open connection is left alone", () => {
  const {socket, conn} = connected()
  page.hide()
  page.reveal()
  assert.equal(socket.conn, conn)
  assert.equal(connections(socket), 1)
})

test("pagehide disconnects, and pageshow connects again", () => {
  const {socket, conn} = connected()
  dispatch("pagehide")
  assert.equal(conn.closeCalls.length, 1)
  assert.equal(socket.conn, null)
  pass(1000)
  assert.equal(connections(socket), 1)
  dispatch("pageshow")
  assert.equal(connections(socket), 2)
  dispatch("pageshow")
  assert.equal(connections(socket), 2)
})

test("pageshow does nothing when someone disconnected meanwhile", () => {
  const {socket} = connected()
  dispatch("pagehide")
  socket.disconnect()
  dispatch("pageshow")
  assert.equal(connections(socket), 1)
})

test("pageshow does nothing when someone connected meanwhile", () => {
  const {socket} = connected()
  dispatch("pagehide")
  socket.connect()
  dispatch("pageshow")
  assert.equal(connections(socket), 2)
})

test("pageshow does nothing when someone connected meanwhile and the server has said goodbye", () => {
  const {socket} = connected()
  dispatch("pagehide")
  socket.connect()
  socket.conn.open()
  socket.conn.drop(1000)
  dispatch("pageshow")
  assert.equal(connections(socket), 2)
})

test("a disconnect while the visible page is about to reconnect wins", () => {
  const socket = fakeSocket()
  socket.connect()
  socket.conn.confirmsClose = false
  page.hide()
  page.reveal()
  pass(100)
  socket.disconnect()
  pass(10_000, 100)
  assert.equal(connections(socket), 1)
  assert.equal(socket.conn, null)
})

test("pagehide of a socket that is not connected is not remembered", () => {
  const socket = fakeSocket()
  dispatch("pagehide")
  dispatch("pageshow")
  assert.equal(connections(socket), 0)
})

test("a socket disconnected while hidden and connected again reconnects as ever", () => {
  const {socket} = connected()
  page.hide()
  socket.disconnect()
  page.reveal()
  socket.connect()
  socket.conn.open()
  socket.conn.drop()
  pass(20)
  assert.equal(connections(socket), 3)
})

test("a socket that was disconnected no longer listens to its page", () => {
  const added = []
  const addEventListener = page.addEventListener.bind(page)
  page.addEventListener = (type, listener, options) => {
    added.push(options.signal)
    addEventListener(type, listener, options)
  }
  page.document.addEventListener = page.addEventListener
  const {socket} = connected()
  assert.equal(added.length, 4)
  socket.disconnect()
  assert.ok(added.every(({aborted}) => aborted))
})
