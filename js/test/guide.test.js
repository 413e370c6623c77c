import assert from "node:assert/strict"
import {readFileSync} from "node:fs"
import {test} from "node:test"

import {Channel, Socket} from "../src/broadwing.js"

const read = (path) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8")
const guide = read("docs/guide/javascript-client.md")

/** The names in the first column of the tables below a heading. */
function named(heading) {
  const section = guide.split(/^## /m).find((part) => part.startsWith(heading))
  const cells = [...section.matchAll(/^\| (`.+?) \|/gm)].map(([, cell]) => cell)
  return cells.flatMap((cell) => [...cell.matchAll(/`(\w+)/g)].map(([, name]) => name))
}

test("the guide names every option that a socket takes, and no other", () => {
  const [, typedef] = read("js/src/types.js").split("@typedef {object} SocketOptions")
  const options = [...typedef.matchAll(/@property \{.*?\} \[(\w+)\]/g)].map(([, name]) => name)
  assert.ok(options.includes("sessionStorage"))
  assert.deepEqual(named("Options of a socket").sort(), options.sort())
})

test("the members that the guide names are there", () => {
  const socket = new Socket("ws://example.com/socket", {transport: class {}})
  const members = named("A socket's members")
  assert.ok(members.length >= 20)
  for (const name of members) assert.equal(typeof socket[name], "function", name)
  const channel = new Channel("topic", {}, socket)
  for (const name of named("Channels and pushes")) assert.notEqual(channel[name], undefined, name)
})

test("every method of a socket that phoenix.js documents is in the guide", async () => {
  const official = await import("phoenix")
  const source = read("js/node_modules/phoenix/assets/js/phoenix/socket.js")
  const documented = [...source.matchAll(/\/\*\*((?:(?!\*\/)[^])*)\*\/\s+(?:get )?(\w+)\(/g)]
    .filter(([, comment]) => !/@(private|internal)/.test(comment))
    .map(([, , name]) => name)
    .filter((name) => typeof Object.getOwnPropertyDescriptor(official.Socket.prototype, name)?.value === "function")
  assert.ok(documented.includes("replaceTransport") && documented.includes("makeRef"))
  const members = named("A socket's members")
  assert.deepEqual(documented.filter((name) => !members.includes(name) && name !== "constructor"), [])
})
