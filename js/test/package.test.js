import assert from "node:assert/strict"
import {execFile} from "node:child_process"
import {cp, mkdir, mkdtemp, readFile, rm, writeFile} from "node:fs/promises"
import {tmpdir} from "node:os"
import {join} from "node:path"
import process from "node:process"
import {after, before, describe, test} from "node:test"
import {fileURLToPath} from "node:url"
import {promisify} from "node:util"

const run = promisify(execFile)
const JS = fileURLToPath(new URL("..", import.meta.url))
const TSC = join(JS, "node_modules", "typescript", "bin", "tsc")

/** A folder of an application that has installed the tarball. */
let app
let packed

before(async () => {
  app = await mkdtemp(join(tmpdir(), "broadwing-"))
  const {stdout} = await npm(JS, "pack", "--json", "--pack-destination", app)
  packed = JSON.parse(stdout)[0]
  await writeFile(join(app, "package.json"), JSON.stringify({name: "application", private: true, type: "module"}))
  // --offline: the package brings nothing else along.
  await npm(app, "install", "--offline", "--no-audit", "--no-fund", join(app, packed.filename))
  const sources = join(JS, "support", "consumer")
  const consumer = await readFile(join(sources, "consumer.ts"), "utf8")
  const moved = consumer.replaceAll('from "phoenix"', 'from "broadwing"')
  assert.notEqual(moved, consumer)
  await writeFile(join(app, "consumer.ts"), moved)
  await cp(join(sources, "own.ts"), join(app, "own.ts"))
})
after(() => rm(app, {recursive: true, force: true}))

async function npm(cwd, ...args) {
  // Windows has npm.cmd, which only a shell starts.
  return run("npm", args, {cwd, shell: process.platform === "win32"})
}

/** What the compiler says, and nothing when it is content. */
async function compile(cwd, lib, file, module = "nodenext") {
  const resolution = module === "nodenext" ? "nodenext" : "bundler"
  const options = ["--strict", "--noEmit", "--target", "es2022", "--lib", lib, "--module", module]
  try {
    const {stdout} = await run(process.execPath, [TSC, ...options, "--moduleResolution", resolution, file], {cwd})
    return stdout
  } catch (error) {
    return error.stdout
  }
}

describe("the package that npm would publish", () => {
  test("has the sources, their types, the licence and the README, and nothing else", async () => {
    const names = packed.files.map(({path}) => path)
    const modules = names.filter((name) => name.startsWith("src/")).map((name) => name.slice(4, -3))
    assert.ok(modules.includes("broadwing"))
    const expected = ["LICENSE", "README.md", "package.json"]
    for (const module of modules) expected.push(`src/${module}.js`, `types/${module}.d.ts`)
    assert.deepEqual(names.sort(), expected.sort())
  })

  test("has the licence of the repository, and the fields that registries and bundlers read", async () => {
    const [ours, theirs] = await Promise.all([
      readFile(join(JS, "LICENSE"), "utf8"),
      readFile(join(JS, "..", "LICENSE"), "utf8"),
    ])
    assert.equal(ours, theirs)
    const manifest = JSON.parse(await readFile(join(app, "node_modules", "broadwing", "package.json"), "utf8"))
    const {name, type, license, types, exports, sideEffects, engines, dependencies} = manifest
    assert.deepEqual(
      {name, type, license, types, exports: exports["."], sideEffects, engines, dependencies},
      {
        name: "broadwing",
        type: "module",
        license: "MIT",
        types: "./types/broadwing.d.ts",
        exports: {types: "./types/broadwing.d.ts", default: "./src/broadwing.js"},
        sideEffects: false,
        engines: {node: ">=20"},
        dependencies: undefined,
      },
    )
  })

  test("is imported by its name, with every name that phoenix has, and works", async () => {
    const script = `
      import * as broadwing from "broadwing"
      const {Socket, Presence, Channel, LongPoll, Serializer} = broadwing
      class Transport {
        readyState = 0
        constructor(url) { setTimeout(() => { this.url = url; this.readyState = 1; this.onopen() }) }
        send(text) {
          const [joinRef, ref, topic] = JSON.parse(text)
          const data = JSON.stringify([joinRef, ref, topic, "phx_reply", {status: "ok", response: {url: this.url}}])
          setTimeout(() => this.onmessage({data}))
        }
        close() { this.readyState = 3; this.onclose({code: 1000}) }
      }
      const socket = new Socket("ws://example.com/socket", {transport: Transport, params: {a: 1}})
      socket.connect()
      const channel = socket.channel("room:lobby")
      new Presence(channel)
      channel.join().receive("ok", ({url}) => {
        console.log(JSON.stringify({names: Object.keys(broadwing), url}))
        socket.disconnect()
      })`
    await writeFile(join(app, "script.js"), script)
    const {stdout} = await run(process.execPath, ["script.js"], {cwd: app})
    const {names, url} = JSON.parse(stdout)
    assert.equal(url, "ws://example.com/socket/websocket?a=1&vsn=2.0.0")
    const official = Object.keys(await import("phoenix"))
    assert.deepEqual(official.filter((name) => !names.includes(name)), [])
    assert.ok(official.length >= 5)
  })

  test("is found by require as well, where Node lets modules be required", async (t) => {
    if (!process.features.require_module) return t.skip("this Node does not")
    const script = 'console.log(typeof require("broadwing").Socket)'
    const {stdout} = await run(process.execPath, ["--no-warnings", "--input-type=commonjs", "-e", script], {cwd: app})
    assert.equal(stdout.trim(), "function")
  })
})

describe("under tsc --strict", () => {
  test("the consumer compiles against phoenix with its types of DefinitelyTyped", async () => {
    assert.equal(await compile(JS, "es2022,dom", join("support", "consumer", "consumer.ts")), "")
  })

  for (const module of ["nodenext", "esnext"]) {
    test(`the same consumer compiles with nothing changed but the import, for ${module}`, async () => {
      assert.equal(await compile(app, "es2022,dom", "consumer.ts", module), "")
    })
  }

  test("what is our own compiles, without the types of browsers and Node", async () => {
    assert.equal(await compile(app, "es2022", "own.ts"), "")
  })

  test("a mistake is found", async () => {
    await writeFile(join(app, "mistake.ts"), 'import {Socket} from "broadwing"\nnew Socket(1).chanel("t")\n')
    const said = await compile(app, "es2022", "mistake.ts")
    assert.match(said, /TS2345.*'number' is not assignable to parameter of type 'string'/)
    assert.match(said, /TS2551.*'chanel' does not exist on type 'Socket'/)
  })
})
