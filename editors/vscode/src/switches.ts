/** What keeps suggestions away although everything works, and switching it. */

import {
  ConfigurationTarget,
  Disposable,
  EventEmitter,
  type TextDocument,
  type Uri,
  workspace,
} from "vscode";
import { list, SECTION, settings, write } from "./settings.ts";
import type { Silence } from "./view.ts";

/**
 * The switches: the settings `enable` and `disabledLanguages`, which last, and a snooze,
 * which ends by itself and is kept nowhere.
 */
export class Switches implements Disposable {
  readonly #changed = new EventEmitter<void>();
  readonly #subscriptions: Disposable;
  #snoozedUntilMs: number | undefined;
  #timer: NodeJS.Timeout | undefined;

  readonly onDidChange = this.#changed.event;

  constructor() {
    this.#subscriptions = Disposable.from(
      workspace.onDidChangeConfiguration((event) => {
        if (event.affectsConfiguration(SECTION)) {
          this.#changed.fire();
        }
      }),
      this.#changed,
    );
  }

  /** Tell why nothing is suggested in a document, or anywhere where there is none. */
  silence(document: TextDocument | undefined): Silence | undefined {
    if (this.#snoozedUntilMs !== undefined) {
      return { why: "snoozed", untilMs: this.#snoozedUntilMs };
    }
    if (!isEnabled(document?.uri) && (document === undefined || !isEnabled(document))) {
      return { why: "disabled" };
    }
    if (document === undefined) {
      return undefined;
    }
    const { languageId } = document;
    const isDisabled = disabledLanguages().includes(languageId);
    return isDisabled || !isEnabled(document)
      ? { why: "language", languageId }
      : undefined;
  }

  get isSnoozed(): boolean {
    return this.#snoozedUntilMs !== undefined;
  }

  /**
   * Switch all suggestions off or on, those in this document in any case; who does so
   * while they snooze wants them.
   */
  async toggle(document: TextDocument | undefined): Promise<void> {
    if (this.isSnoozed) {
      this.resume();
      return;
    }
    const wanted = this.silence(document)?.why === "disabled";
    await write("enable", wanted, document?.uri);
    if (document !== undefined) {
      await removeOverrides(document, !wanted);
    }
  }

  /** Switch them off or on in documents of one language. */
  async toggleLanguage(document: TextDocument): Promise<void> {
    const { languageId } = document;
    const others = disabledLanguages().filter((one) => one !== languageId);
    if (this.silence(document)?.why !== "language") {
      await write("disabledLanguages", [...others, languageId]);
      return;
    }
    await write("disabledLanguages", others);
    await removeOverrides(document, false);
  }

  /** Suggest nothing for some minutes. */
  snooze(minutes: number): void {
    clearTimeout(this.#timer);
    const durationMs = minutes * 60_000;
    this.#snoozedUntilMs = Date.now() + durationMs;
    this.#timer = setTimeout(() => this.resume(), durationMs);
    this.#changed.fire();
  }

  /** End the snooze. */
  resume(): void {
    clearTimeout(this.#timer);
    this.#snoozedUntilMs = undefined;
    this.#changed.fire();
  }

  dispose(): void {
    clearTimeout(this.#timer);
    this.#subscriptions.dispose();
  }
}

function disabledLanguages(): string[] {
  return list("disabledLanguages");
}

/** Tell whether `enable` is on; for a document with its language, for a folder without. */
function isEnabled(scope: TextDocument | Uri | undefined): boolean {
  return settings(scope).get<boolean>("enable", true);
}

/** Undo `"[language]": { "lsp-stablecode.enable": … }` where it says this. */
async function removeOverrides(document: TextDocument, said: boolean): Promise<void> {
  const configuration = settings(document);
  const inspected = configuration.inspect<boolean>("enable");
  const { Global, Workspace, WorkspaceFolder } = ConfigurationTarget;
  const targets = [
    [inspected?.workspaceFolderLanguageValue, WorkspaceFolder],
    [inspected?.workspaceLanguageValue, Workspace],
    [inspected?.globalLanguageValue, Global],
  ] as const;
  for (const [value, target] of targets) {
    if (value === said) {
      await configuration.update("enable", undefined, target, true);
    }
  }
}
