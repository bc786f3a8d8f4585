/** What the user has set, and where it is to be written. */

import {
  type ConfigurationScope,
  ConfigurationTarget,
  type Uri,
  type WorkspaceConfiguration,
  workspace,
} from "vscode";

export const SECTION = "lsp-stablecode";

/** Settings that are the extension's own; the server would call them unknown. */
const OWN_KEYS: readonly string[] = [
  "sharedEngine",
  "serverCommand",
  "serverArguments",
  "python",
  "installFrom",
];

type Inspected = ReturnType<WorkspaceConfiguration["inspect"]>;

/** Return our settings as they hold for a document, a language or everywhere. */
export function settings(scope?: ConfigurationScope): WorkspaceConfiguration {
  return workspace.getConfiguration(SECTION, scope);
}

/** What we read of the extension's `package.json`. */
export interface Manifest {
  readonly version: string;
  readonly contributes: { readonly configuration: { readonly properties: object }[] };
}

/** Return a setting that is a list; one text alone is what many write instead. */
export function list(key: string): string[] {
  return [settings().get<string | string[]>(key, [])].flat();
}

/** Return the keys of a manifest's settings that the server knows. */
export function serverKeys(manifest: Manifest): string[] {
  return manifest.contributes.configuration
    .flatMap((group) => Object.keys(group.properties))
    .map((name) => name.slice(SECTION.length + 1))
    .filter((key) => !OWN_KEYS.includes(key));
}

/**
 * Return what to send the server: what the user has set and nothing else, so that the
 * server's own defaults and command line hold for the rest.
 */
export function chosenSettings(keys: readonly string[]): Record<string, unknown> {
  const configuration = settings();
  const chosen: Record<string, unknown> = {};
  for (const key of keys) {
    if (isSet(configuration.inspect(key))) {
      chosen[key] = configuration.get(key);
    }
  }
  if (chosen.enable === false && isEnabledSomewhere()) {
    // The server has one switch; which folders and languages are off is decided here.
    chosen.enable = true;
  }
  return chosen;
}

/** Write a setting where its value comes from, else for the user. */
export async function write(key: string, value: unknown, scope?: Uri): Promise<void> {
  const configuration = settings(scope);
  await configuration.update(key, value, targetOf(configuration.inspect(key)));
}

/** Have a setting's default hold, whatever other values it has. */
export async function reset(key: string): Promise<void> {
  const inspected = settings().inspect(key);
  const isSetTwice =
    inspected?.globalValue !== undefined && inspected.workspaceValue !== undefined;
  // With the workspace's value gone, the user's would hold.
  await write(key, isSetTwice ? inspected.defaultValue : undefined);
}

/** Tell whether a change concerns how the server is started. */
export function concernsTheProcess(affects: (section: string) => boolean): boolean {
  return ["sharedEngine", "serverCommand", "serverArguments"].some((key) =>
    affects(`${SECTION}.${key}`),
  );
}

/** Tell whether `enable` is on for any folder or language. */
function isEnabledSomewhere(): boolean {
  return [undefined, ...(workspace.workspaceFolders ?? [])].some((folder) => {
    const configuration = settings(folder);
    const languageIds = configuration.inspect("enable")?.languageIds ?? [];
    const uri = folder?.uri;
    const scopes = languageIds.map((languageId) => ({
      ...(uri && { uri }),
      languageId,
    }));
    return (
      configuration.get("enable") === true ||
      scopes.some((scope) => settings(scope).get("enable") === true)
    );
  });
}

function targetOf(inspected: Inspected): ConfigurationTarget {
  // Of one folder alone the settings are the workspace's.
  const isOfFolder =
    inspected?.workspaceFolderValue !== undefined &&
    workspace.workspaceFile !== undefined;
  if (isOfFolder) {
    return ConfigurationTarget.WorkspaceFolder;
  }
  return inspected?.workspaceValue === undefined
    ? ConfigurationTarget.Global
    : ConfigurationTarget.Workspace;
}

function isSet(inspected: Inspected): boolean {
  return (
    inspected?.globalValue !== undefined ||
    inspected?.workspaceValue !== undefined ||
    inspected?.workspaceFolderValue !== undefined
  );
}
