// The one step that needs Node instead of Bun: installs the pinned packages (Bun among them) where they are missing,
// then hands over to a TypeScript file run by that Bun.
//
//   node src/build/setup.mjs                    install only
//   node src/build/setup.mjs <file.ts> [args]   install, then run the file
import { spawnSync } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import process from "node:process"
import { fileURLToPath } from "node:url"

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..")

function fail(sentence) {
  process.stderr.write(`setup: ${sentence}\n`)
  process.exit(1)
}

/** Packages of package.json that are not installed in exactly the pinned version. */
function missingPackages() {
  const pinned = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
  const wanted = Object.entries({ ...pinned.dependencies, ...pinned.devDependencies })
  return wanted.filter(([name, version]) => {
    const file = join(root, "node_modules", name, "package.json")
    return !existsSync(file) || JSON.parse(readFileSync(file, "utf8")).version !== version
  })
}

function run(command, args) {
  return spawnSync(command, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"] })
}

function bunWorks(bun) {
  return spawnSync(bun, ["--version"], { stdio: "ignore" }).status === 0
}

function install() {
  if (process.platform !== "linux") fail(`Linux is needed (this is ${process.platform})`)
  if (missingPackages().length > 0) {
    // `npm ci` installs what package-lock.json says and never rewrites it.
    const result = run("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"])
    if (result.error) fail("npm is needed to install the pinned packages, and it is not on PATH")
    const missing = missingPackages().map(([name, version]) => `${name}@${version}`)
    if (result.status !== 0 || missing.length > 0) {
      fail(`npm could not install ${missing.join(", ")}; is a package registry reachable?`)
    }
  }
  const bun = join(root, "node_modules", ".bin", "bun")
  // Where npm was told not to run install scripts, the package's own script still puts the binary in place.
  if (!bunWorks(bun)) run(process.execPath, [join(root, "node_modules", "bun", "install.js")])
  if (!bunWorks(bun)) fail("the pinned Bun does not run on this machine (node_modules/.bin/bun --version fails)")
  return bun
}

const bun = install()
const [file, ...args] = process.argv.slice(2)
if (file !== undefined) {
  const result = spawnSync(bun, [join(root, file), ...args], { stdio: "inherit" })
  if (result.error) fail(result.error.message)
  if (result.signal) process.kill(process.pid, result.signal)
  process.exit(result.status ?? 1)
}
