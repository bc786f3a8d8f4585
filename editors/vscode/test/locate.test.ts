import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { expand, findProgram, locate, type Surroundings } from "../src/locate.ts";

function around(files: string[], given: Partial<Surroundings> = {}): Surroundings {
  return {
    platform: "linux",
    environment: { PATH: "/usr/bin:/opt/bin" },
    home: "/home/ada",
    pythonEnvironments: [],
    trustedFolders: [],
    ownEnvironment: undefined,
    isFile: (path) => files.includes(path),
    ...given,
  };
}

const OWN = "/home/ada/storage/server";
const EVERYWHERE = [
  "/opt/bin/lsp-stablecode",
  "/home/ada/conda/bin/lsp-stablecode",
  "/work/.venv/bin/lsp-stablecode",
  `${OWN}/bin/lsp-stablecode`,
  "/home/ada/.local/bin/lsp-stablecode",
];

describe("the server is looked for", () => {
  it("on the PATH, in environments, in its own and where tools are", () => {
    const given = {
      pythonEnvironments: ["/home/ada/conda/bin/python"],
      trustedFolders: ["/work"],
      ownEnvironment: OWN,
    };
    const found = EVERYWHERE.map(
      (_, index) => locate(around(EVERYWHERE.slice(index), given))?.command[0],
    );
    assert.deepEqual(found, EVERYWHERE);
    assert.equal(locate(around([], given)), undefined);
  });

  it("in no folder of a workspace that is not trusted", () => {
    assert.equal(locate(around(["/work/.venv/bin/lsp-stablecode"])), undefined);
  });

  it("in an environment that is named by its folder, too", () => {
    const files = ["/work/env/bin/lsp-stablecode"];
    const found = locate(around(files, { pythonEnvironments: ["/work/env"] }));
    assert.deepEqual(found?.command, files);
  });

  it("not where a relative entry of the PATH leads", () => {
    const environment = { PATH: ".:bin:/usr/bin" };
    const files = ["lsp-stablecode", "bin/lsp-stablecode", "./lsp-stablecode"];
    assert.equal(locate(around(files, { environment })), undefined);
  });

  it("on Windows as a program of Windows", () => {
    const file = "C:\\Users\\Ada Å\\venv\\Scripts\\lsp-stablecode.exe";
    const given = {
      platform: "win32" as const,
      environment: { Path: "C:\\Windows;relative" },
      home: "C:\\Users\\Ada Å",
      trustedFolders: ["C:\\Users\\Ada Å"],
    };
    assert.deepEqual(locate(around([file], given))?.command, [file]);
  });
});

describe("a command in the settings", () => {
  it("is found as a shell finds it", () => {
    const files = ["/opt/bin/python3", "/srv/python"];
    assert.equal(findProgram("python3", around(files)), "/opt/bin/python3");
    assert.equal(findProgram("/srv/python", around(files)), "/srv/python");
    assert.equal(findProgram("/srv/other", around(files)), undefined);
  });

  it("may name the home and the workspace's folder", () => {
    assert.equal(expand("~/bin/x", "/home/$&", undefined), "/home/$&/bin/x");
    assert.equal(expand("~other/x", "/home/ada", undefined), "~other/x");
    const variable = "$" + "{workspaceFolder}";
    assert.equal(expand(`${variable}/x`, "/home/ada", "/w/$1"), "/w/$1/x");
    assert.equal(expand(`${variable}/x`, "/home/ada", undefined), `${variable}/x`);
  });
});
