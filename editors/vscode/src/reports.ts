/** Read-only documents that the extension writes: an explanation, doctor's findings. */

import {
  type Disposable,
  EventEmitter,
  type LogOutputChannel,
  ProgressLocation,
  type TextDocumentContentProvider,
  Uri,
  ViewColumn,
  window,
  workspace,
} from "vscode";
import type { Found } from "./locate.ts";
import { type Explanation, explanation, type Finding, findings } from "./markdown.ts";
import type { Run } from "./run.ts";
import type { Server } from "./server.ts";
import { chosenSettings, SECTION } from "./settings.ts";

/** Settings that decide which model is loaded, and their options on the command line. */
const MODEL_OPTIONS = {
  model: "--model",
  device: "--device",
  dtype: "--dtype",
  cacheDtype: "--cache-dtype",
  threads: "--threads",
  contextTokens: "--context-tokens",
  backend: "--backend",
  endpoint: "--endpoint",
  remoteModel: "--remote-model",
  apiKeyFile: "--api-key-file",
} as const;

export class Reports implements TextDocumentContentProvider, Disposable {
  readonly #changed = new EventEmitter<Uri>();
  readonly #texts = new Map<string, string>();
  readonly #registration: Disposable;

  readonly onDidChange = this.#changed.event;

  constructor() {
    this.#registration = workspace.registerTextDocumentContentProvider(SECTION, this);
  }

  provideTextDocumentContent(uri: Uri): string | undefined {
    return this.#texts.get(uri.path);
  }

  /** Show what the server tells of a document's last request. */
  async explain(server: Server, uri: string | undefined): Promise<void> {
    const told =
      uri === undefined
        ? await server.execute<Explanation | null>("explain")
        : await server.execute<Explanation | null>("explain", uri);
    await this.#show("Last suggestion.md", explanation(told ?? null));
  }

  /** Run doctor with the model that the settings name, and show what it found. */
  async runDoctor(server: Found, run: Run, log: LogOutputChannel): Promise<void> {
    const abort = new AbortController();
    const command = [...server.command, "doctor", "--json", ...modelOptions()];
    const { stdout, complaint } = await window.withProgress(
      {
        location: ProgressLocation.Notification,
        title: "Doctor loads the model and tries it",
        cancellable: true,
      },
      (_progress, token) => {
        token.onCancellationRequested(() => abort.abort());
        return run(command, { signal: abort.signal });
      },
    );
    if (abort.signal.aborted) {
      return;
    }
    let found: Finding[];
    try {
      // It ends with 1 where something is wrong, and has told what.
      found = JSON.parse(stdout) as Finding[];
    } catch {
      log.error(`doctor: ${complaint || stdout}`);
      await window.showErrorMessage(`Doctor did not get through. ${complaint}`);
      return;
    }
    await this.#show("Doctor.md", findings(found));
  }

  dispose(): void {
    this.#registration.dispose();
    this.#changed.dispose();
  }

  async #show(name: string, text: string): Promise<void> {
    const uri = Uri.from({ scheme: SECTION, path: `/${name}` });
    this.#texts.set(uri.path, text);
    this.#changed.fire(uri);
    await window.showTextDocument(uri, {
      viewColumn: window.activeTextEditor ? ViewColumn.Beside : ViewColumn.Active,
      preserveFocus: true,
      preview: true,
    });
  }
}

function modelOptions(): string[] {
  const chosen = chosenSettings(Object.keys(MODEL_OPTIONS));
  return Object.entries(MODEL_OPTIONS).flatMap(([key, option]) => {
    const value = chosen[key];
    const isGiven = typeof value === "number" || typeof value === "string";
    return isGiven && value !== "auto" ? [option, String(value)] : [];
  });
}
