import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { ServerProcess } from "../src/server-process.ts";

const HANG = "setInterval(() => {}, 1000)";
const WAIT_FOR_INPUT = "process.stdin.on('end', () => process.exit(7)).resume()";

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "lsp-stablecode-"));
});
after(() => rm(folder, { recursive: true }));

function server(...command: string[]): [ServerProcess, said: string[]] {
  const said: string[] = [];
  return [new ServerProcess(command, folder, (line) => said.push(line)), said];
}

describe("the server's process", { timeout: 20_000 }, () => {
  it("is given time to end by itself", async () => {
    const [one, said] = server(process.execPath, "-e", WAIT_FOR_INPUT);
    const child = await one.start();
    child.stdin?.end();
    await one.finish();
    assert.deepEqual(said, ["the server has ended with 7"]);
  });

  it("is ended where it does not, with what it has started", async () => {
    const [one, said] = server("sh", "-c", `'${process.execPath}' -e '${HANG}'; true`);
    const child = await one.start();
    const closed = once(child, "close");
    await one.finish();
    await closed;
    assert.deepEqual(said, ["the server has ended with SIGKILL"]);
  });

  it("is not started once it is not wanted", async () => {
    const [one] = server(process.execPath, "-e", HANG);
    const started = one.start();
    one.kill();
    await assert.rejects(started, /stopped before it was started/);
  });

  it("that cannot be started says why", async () => {
    const [one] = server(join(folder, "nothing"));
    await assert.rejects(one.start(), /ENOENT/);
  });
});
