/** What there is on the machine and in the workspace, for finding server and Python. */

import { statSync } from "node:fs";
import { homedir } from "node:os";
import { isAbsolute } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type ExtensionContext, extensions, type Uri, workspace } from "vscode";
import { type Folders, ownEnvironment } from "./environment.ts";
import { type Found, locate, type Surroundings } from "./locate.ts";

const PYTHON = "ms-python.python";
/** It looks for every Python on the machine first, or hangs. */
const PYTHON_PATIENCE_MS = 10_000;

/** What we use of the Python extension's interface. */
interface PythonExtension {
  readonly environments?: {
    getActiveEnvironmentPath(resource?: Uri): { readonly path: string };
    readonly onDidChangeActiveEnvironmentPath: (listener: () => unknown) => {
      dispose(): unknown;
    };
  };
}

/** Return the first server there is; the Python extension is asked only if need be. */
export async function findServer(
  context: ExtensionContext,
): Promise<Found | undefined> {
  const around = await surroundings(context);
  const onPath = locate({ ...around, trustedFolders: [], ownEnvironment: undefined });
  if (onPath?.origin === "on the PATH") {
    return onPath;
  }
  return locate({ ...around, pythonEnvironments: await pythonEnvironments() });
}

export function foldersOf(context: ExtensionContext): Folders {
  return { extension: context.extensionPath, storage: context.globalStorageUri.fsPath };
}

/** Return what can be known at once. */
export async function surroundings(context: ExtensionContext): Promise<Surroundings> {
  return {
    platform: process.platform,
    environment: process.env,
    home: homedir(),
    pythonEnvironments: [],
    trustedFolders: workspace.isTrusted
      ? (workspace.workspaceFolders ?? [])
          .filter((folder) => folder.uri.scheme === "file")
          .map((folder) => folder.uri.fsPath)
      : [],
    ownEnvironment: await ownEnvironment(foldersOf(context)),
    isFile,
  };
}

/** Return the environments chosen in the Python extension, if it is there. */
export async function pythonEnvironments(): Promise<string[]> {
  if (!workspace.isTrusted) {
    // They may well be folders of the workspace.
    return [];
  }
  const waiting = delay(PYTHON_PATIENCE_MS, undefined, { ref: false });
  const environments = (await Promise.race([pythonExtension(), waiting]))?.environments;
  if (environments === undefined) {
    return [];
  }
  const folders: (Uri | undefined)[] = (workspace.workspaceFolders ?? []).map(
    (folder) => folder.uri,
  );
  const paths = [...folders, undefined].map(
    (resource) => environments.getActiveEnvironmentPath(resource).path,
  );
  // Where nothing is chosen it is `python`, which is no place to look at.
  return [...new Set(paths.filter((path) => isAbsolute(path)))];
}

/**
 * Call `listener` when another environment is chosen in the Python extension, and once
 * that is there at all, if `pythonEnvironments` did not wait for it.
 */
export async function onDidChooseEnvironment(
  listener: () => unknown,
): Promise<{ dispose(): unknown } | undefined> {
  const wasThere = extensions.getExtension(PYTHON)?.isActive;
  const environments = (await pythonExtension())?.environments;
  if (wasThere === false) {
    listener();
  }
  return environments?.onDidChangeActiveEnvironmentPath(listener);
}

async function pythonExtension(): Promise<PythonExtension | undefined> {
  try {
    return await extensions.getExtension<PythonExtension>(PYTHON)?.activate();
  } catch {
    // It has said so itself.
    return undefined;
  }
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}
