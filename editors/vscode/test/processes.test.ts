import assert from "node:assert/strict";
import { realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { findPython, isNewEnough, pythonCandidates } from "../src/python.ts";
import { RestartLimit } from "../src/restart-limit.ts";
import { Runner } from "../src/run.ts";

const folder = join(tmpdir(), `lsp-stablecode-${process.pid}`);
const { run } = new Runner(folder);
const node = (code: string) => [process.execPath, "-e", code];

after(() => rm(folder, { recursive: true }));

describe("a program that runs to its end", () => {
  it("gives what it said, and how it ended", async () => {
    const lines: string[] = [];
    const ended = await run(
      node("console.log('one\\ntwo'); console.error('bad'); process.exit(3)"),
      { onLine: (line) => lines.push(line) },
    );
    assert.deepEqual(ended, { code: 3, stdout: "one\ntwo", complaint: "bad" });
    assert.deepEqual(lines.toSorted(), ["bad", "one", "two"]);
  });

  it("that does not exist has ended without a code", async () => {
    const ended = await run(["/nowhere/at-all"]);
    assert.equal(ended.code, null);
    assert.match(ended.complaint, /ENOENT/);
  });

  it("runs where nobody else puts what it may import", async () => {
    const { stdout } = await run(node("console.log(process.cwd())"));
    assert.equal(stdout, await realpath(folder));
  });

  it("ends with who runs it, and is the last", { timeout: 20_000 }, async () => {
    const runner = new Runner(folder);
    const code = "console.log('up'); setInterval(() => {}, 1000)";
    const ended = await runner.run(node(code), { onLine: () => runner.dispose() });
    assert.deepEqual(ended, { code: null, stdout: "up", complaint: "" });
    const { code: next, stdout } = await runner.run(node("console.log('up')"));
    assert.deepEqual([next, stdout], [null, ""]);
  });

  it("is stopped with its children", { timeout: 20_000 }, async () => {
    const child = "setInterval(() => {}, 1000)";
    const parent =
      "const { spawn } = require('node:child_process');" +
      `console.log(spawn(process.execPath, ['-e', '${child}']).pid); ${child}`;
    const abort = new AbortController();
    let pid = 0;
    const ended = await run(node(parent), {
      signal: abort.signal,
      onLine: (line) => {
        pid = Number(line);
        abort.abort();
      },
    });
    assert.equal(ended.code, null);
    assert.ok(pid > 0);
    while (isAlive(pid)) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  });
});

describe("a Python to install with", () => {
  it("is 3.11 or later", () => {
    const answers = ["3 11", "3 14", "4 0", "3 10", "2 7", "", "words"].map(
      isNewEnough,
    );
    assert.deepEqual(answers, [true, true, true, false, false, false, false]);
  });

  it("is the user's choice, or one of those that may be there", () => {
    assert.deepEqual(pythonCandidates("/my/python", ["/env"], "linux"), [
      ["/my/python"],
    ]);
    const [first, second] = pythonCandidates("", ["/env/bin/python"], "linux");
    assert.deepEqual([first, second], [["/env/bin/python"], ["python3"]]);
    assert.ok(pythonCandidates("", [], "win32").some(([program]) => program === "py"));
  });

  it("is the first that runs", async () => {
    const some = ["sh", "-c", "echo 3 12"];
    const other = ["sh", "-c", "echo 3 13"];
    assert.deepEqual(await findPython(run, [["/nowhere"], some, other]), some);
    assert.equal(
      await findPython(run, [["/nowhere"], ["sh", "-c", "echo 3 9"]]),
      undefined,
    );
  });
});

describe("a server that ends by itself", () => {
  it("is started again four times in three minutes", () => {
    const limit = new RestartLimit();
    const answers = [0, 1, 2, 3, 4].map((second) => limit.allows(1000 * second));
    assert.deepEqual(answers, [true, true, true, true, false]);
    assert.equal(limit.allows(200_000), true);
  });
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
