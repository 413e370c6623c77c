import assert from "node:assert/strict"
import {readFileSync} from "node:fs"
import {test} from "node:test"
import {fileURLToPath} from "node:url"
import {gzipSync} from "node:zlib"

// Only here: the client itself is served as it is written. phoenix.js is built with the same tool.
import {buildSync} from "esbuild"

const file = (path) => fileURLToPath(new URL(path, import.meta.url))

test("all of the client takes less than 8 kB, minified and compressed, and README.md says how much", () => {
  const {outputFiles} = buildSync({
    entryPoints: [file("../src/broadwing.js")],
    bundle: true,
    minify: true,
    format: "esm",
    write: false,
  })
  const bytes = gzipSync(outputFiles[0].contents, {level: 9}).length
  assert.ok(bytes < 8000, `${bytes} bytes`)
  const said = Number(readFileSync(file("../README.md"), "utf8").match(/All of it takes (\d\.\d) kB/)[1])
  assert.ok(Math.abs(said * 1000 - bytes) <= 100, `README.md says ${said} kB, and it is ${bytes} bytes`)
})
