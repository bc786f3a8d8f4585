import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import {
  bundledSource,
  type Folders,
  isOutdated,
  makeEnvironment,
  namedSource,
  ownEnvironment,
  type Steps,
} from "../src/environment.ts";
import { Runner } from "../src/run.ts";

// Stands for a Python: `-I -m venv FOLDER` copies it there, and as pip it does as told.
const PYTHON = `#!/bin/sh
test "$1" = -I || exit 2
shift
case "$2" in
  venv) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && cp "$0.pip" "$3/bin/python.pip" ;;
  pip) echo "$@" ; . "$0.pip" ;;
esac
`;

let folder: string;
let folders: Folders;
let python: string;
let wheel: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lsp-stablecode-"));
  const extension = join(folder, "extensions", "lsp-stablecode-2");
  wheel = join(extension, "server", "lsp_stablecode-2-py3-none-any.whl");
  await mkdir(join(extension, "server"), { recursive: true });
  await writeFile(wheel, "");
  folders = { extension, storage: join(folder, "storage") };
  python = join(folder, "python");
  await writeFile(python, PYTHON);
  await chmod(python, 0o755);
});

afterEach(() => rm(folder, { recursive: true }));

async function install(pip: string, given: Partial<Steps> = {}): Promise<string[]> {
  const lines: string[] = [];
  await writeFile(`${python}.pip`, pip);
  const source = await bundledSource(folders);
  assert.ok(source);
  const steps = {
    run: new Runner(folder).run,
    signal: new AbortController().signal,
    report: (line: string) => lines.push(line),
    ...given,
  };
  await makeEnvironment(folders, [python], source, steps);
  return lines;
}

describe("the environment of the extension", () => {
  it("gets the wheel that came along, with what it was tested with", async () => {
    const lines = await install("exit 0");
    const [pip] = lines.filter((line) => line.startsWith("-m pip install"));
    assert.match(
      pip ?? "",
      /--constraint .*server\/constraints\.txt .*\.whl\[starter\]$/,
    );
    const own = await ownEnvironment(folders);
    assert.equal(own, join(folder, "storage", "server"));
    assert.equal(await readFile(join(own, "installed-from.txt"), "utf8"), wheel);
    assert.equal(await isOutdated(folders), false);
  });

  it("is outdated once another wheel comes along", async () => {
    await install("exit 0");
    await rm(wheel);
    await writeFile(wheel.replace("-2-", "-3-"), "");
    assert.equal(await isOutdated(folders), true);
  });

  it("is made of nothing but what is there, by its whole path", () => {
    assert.deepEqual(namedSource(wheel), { path: wheel, constraints: undefined });
    assert.deepEqual(namedSource(folder), { path: folder, constraints: undefined });
    for (const name of ["lsp-stablecode", ".", join(folder, "nothing")]) {
      assert.equal(namedSource(name), undefined);
    }
  });

  it("is not there when pip fails, which says why", async () => {
    await assert.rejects(install("echo no room >&2; exit 1"), /^Error: no room$/);
    assert.equal(await ownEnvironment(folders), undefined);
    assert.equal(existsSync(join(folder, "storage", "server")), false);
  });

  it("is not there when it was cancelled", { timeout: 20_000 }, async () => {
    const abort = new AbortController();
    const report = (line: string) => {
      if (line.startsWith("-m pip install")) {
        abort.abort();
      }
    };
    await assert.rejects(install("sleep 1000", { signal: abort.signal, report }), {
      name: "AbortError",
    });
    assert.equal(existsSync(join(folder, "storage", "server")), false);
  });
});
