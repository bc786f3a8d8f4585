/** Which documents the server sees. */

import { type TextDocument, workspace } from "vscode";

/** Schemes whose documents are code that somebody writes, wherever it is kept. */
const SCHEMES = ["file", "untitled", "vscode-notebook-cell", "vscode-vfs"];

/**
 * Return a selector for them and for what the workspace's own folders hold.
 *
 * Not simply everything: there are also logs, diffs, chat, commit messages and the
 * prompts of a debugger.
 */
export function documentSelector(): { scheme: string }[] {
  const folders = workspace.workspaceFolders ?? [];
  const schemes = new Set([...SCHEMES, ...folders.map((folder) => folder.uri.scheme)]);
  return [...schemes].map((scheme) => ({ scheme }));
}

/** Tell whether the server sees a document. */
export function isSelected(document: TextDocument): boolean {
  return documentSelector().some(({ scheme }) => scheme === document.uri.scheme);
}
