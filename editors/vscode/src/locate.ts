/** Where the server's command may be, in the order in which it is looked for. */

import { posix, win32 } from "node:path";

/** A command without `serve`, and where it comes from, in words. */
export interface Found {
  readonly command: readonly string[];
  readonly origin: string;
}

/** What is known of the machine and the workspace. */
export interface Surroundings {
  readonly platform: NodeJS.Platform;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  /** Python environments that the Python extension has chosen: folders or pythons. */
  readonly pythonEnvironments: readonly string[];
  /** Of a trusted workspace; a program of any other is never run. */
  readonly trustedFolders: readonly string[];
  /** The environment that the extension made, if it is whole. */
  readonly ownEnvironment: string | undefined;
  readonly isFile: (path: string) => boolean;
}

/** Return the first server there is. */
export function locate(around: Surroundings): Found | undefined {
  for (const [path, origin] of places(around)) {
    if (around.isFile(path)) {
      return { command: [path], origin };
    }
  }
  return undefined;
}

/** Return the file that a command's first word names, as a shell would find it. */
export function findProgram(word: string, around: Surroundings): string | undefined {
  const path = pathOf(around);
  const names =
    around.platform === "win32" && !/\.\w+$/.test(word)
      ? [`${word}.exe`, word]
      : [word];
  const folders = path.isAbsolute(word) ? [""] : searchPath(around);
  for (const folder of folders) {
    for (const name of names) {
      const program = folder === "" ? name : path.join(folder, name);
      if (around.isFile(program)) {
        return program;
      }
    }
  }
  return undefined;
}

/** Replace a leading `~` and `${workspaceFolder}` in a setting. */
export function expand(text: string, home: string, folder: string | undefined): string {
  const atHome = text.replace(/^~(?=$|[\\/])/, () => home);
  return folder === undefined
    ? atHome
    : // A function, since `$&` in a path would mean something in a replacement text.
      atHome.replace(/\$\{workspaceFolder\}/g, () => folder);
}

/** Return the folder of an environment's programs. */
export function programsOf(environment: string, platform: NodeJS.Platform): string {
  return platform === "win32"
    ? win32.join(environment, "Scripts")
    : posix.join(environment, "bin");
}

function* places(around: Surroundings): Generator<[path: string, origin: string]> {
  const { platform, home, environment } = around;
  const path = pathOf(around);
  const name = platform === "win32" ? "lsp-stablecode.exe" : "lsp-stablecode";
  const inEnvironment = (folder: string) =>
    path.join(programsOf(folder, platform), name);

  for (const folder of searchPath(around)) {
    yield [path.join(folder, name), "on the PATH"];
  }
  for (const python of around.pythonEnvironments) {
    yield [inEnvironment(python), "in the chosen Python environment"];
    yield [path.join(path.dirname(python), name), "in the chosen Python environment"];
  }
  for (const folder of around.trustedFolders) {
    for (const venv of [".venv", "venv", "env"]) {
      yield [inEnvironment(path.join(folder, venv)), `in the workspace's ${venv}`];
    }
  }
  if (around.ownEnvironment !== undefined) {
    yield [inEnvironment(around.ownEnvironment), "installed by the extension"];
  }
  const tools =
    platform === "win32"
      ? [
          path.join(home, ".local", "bin"),
          path.join(home, "pipx", "venvs", "lsp-stablecode", "Scripts"),
          path.join(
            environment.APPDATA ?? home,
            "uv",
            "tools",
            "lsp-stablecode",
            "Scripts",
          ),
        ]
      : [
          path.join(home, ".local", "bin"),
          path.join(home, ".local", "share", "pipx", "venvs", "lsp-stablecode", "bin"),
          path.join(home, ".local", "share", "uv", "tools", "lsp-stablecode", "bin"),
          "/usr/local/bin",
          "/opt/homebrew/bin",
        ];
  for (const folder of tools) {
    yield [path.join(folder, name), "where tools are installed"];
  }
}

/** The folders of PATH; a relative one would let a workspace choose what is run. */
function searchPath(around: Surroundings): string[] {
  const path = pathOf(around);
  const variable = around.environment.PATH ?? around.environment.Path ?? "";
  return variable.split(path.delimiter).filter((folder) => path.isAbsolute(folder));
}

function pathOf(around: Surroundings): typeof posix {
  return around.platform === "win32" ? win32 : posix;
}
