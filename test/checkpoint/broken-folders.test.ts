/** Each broken folder of the list ends in its own clear error. */
import { test } from "bun:test"
import { brokenFolders } from "../support/broken-folders.ts"
import { expectFault } from "../support/broken-run.ts"

for (const input of brokenFolders) test(input.name, () => expectFault(input), 5000)
