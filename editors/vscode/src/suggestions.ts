/** Suggestions on their way from the server to the screen, and what becomes of them. */

import {
  Disposable,
  EventEmitter,
  type InlineCompletionItem,
  type Position,
  type Range,
  type TextDocument,
  TextEditorSelectionChangeKind,
  window,
  workspace,
} from "vscode";
import type { Middleware } from "vscode-languageclient/node";
import { Acceptance } from "./acceptance.ts";
import type { Silence } from "./view.ts";

/** An item as the server sent it. */
export interface WireItem {
  readonly insertText: string;
  readonly range: { readonly start: WirePosition; readonly end: WirePosition };
  readonly command?: { title: string; command: string; arguments?: unknown[] };
}

interface WirePosition {
  readonly line: number;
  readonly character: number;
}

interface Displayed {
  readonly document: TextDocument;
  readonly item: WireItem;
  readonly acceptance: Acceptance;
  /** Set between the change of the document and that of the selection. */
  isBeingTaken: boolean;
}

const THINKING_SHOWS_AFTER_MS = 200;

export class Suggestions implements Disposable {
  readonly #displayedEmitter = new EventEmitter<WireItem>();
  readonly #acceptedEmitter = new EventEmitter<{ item: WireItem; length: number }>();
  readonly #thinkingEmitter = new EventEmitter<boolean>();
  readonly #subscriptions: Disposable;
  readonly #silence: (document: TextDocument) => Silence | undefined;
  #displayed: Displayed | undefined;
  #numAsked = 0;
  #thinkingTimer: NodeJS.Timeout | undefined;
  #thinking = false;

  /** An item has become visible. */
  readonly onDidDisplay = this.#displayedEmitter.event;
  /** A word or a line of an item was accepted; `length` counts from its start. */
  readonly onDidAcceptPart = this.#acceptedEmitter.event;
  readonly onDidChangeThinking = this.#thinkingEmitter.event;

  /** @param silence tells why a document is not to be asked about, if so */
  constructor(silence: (document: TextDocument) => Silence | undefined) {
    this.#silence = silence;
    this.#subscriptions = Disposable.from(
      workspace.onDidChangeTextDocument(({ document, contentChanges, reason }) => {
        const displayed = this.#displayed;
        if (displayed?.document !== document || contentChanges.length === 0) {
          return;
        }
        const changes = contentChanges.map((change) => ({
          offset: change.rangeOffset,
          removedLength: change.rangeLength,
          text: change.text,
        }));
        // A change that is done again is no acceptance.
        displayed.isBeingTaken =
          reason === undefined && displayed.acceptance.follow(changes);
        if (!displayed.isBeingTaken) {
          this.#displayed = undefined;
        }
      }),
      window.onDidChangeTextEditorSelection(({ textEditor, kind }) => {
        const displayed = this.#displayed;
        if (displayed?.document !== textEditor.document || !displayed.isBeingTaken) {
          return;
        }
        displayed.isBeingTaken = false;
        // Typed characters come with the keyboard's kind, accepted ones with none.
        if (
          kind !== TextEditorSelectionChangeKind.Keyboard &&
          kind !== TextEditorSelectionChangeKind.Mouse
        ) {
          const { item, acceptance } = displayed;
          this.#acceptedEmitter.fire({ item, length: acceptance.taken });
        }
      }),
      this.#displayedEmitter,
      this.#acceptedEmitter,
      this.#thinkingEmitter,
    );
  }

  get thinking(): boolean {
    return this.#thinking;
  }

  /** The language client's way to ask, and ours to look on. */
  readonly provideInlineCompletionItems: NonNullable<
    Middleware["provideInlineCompletionItems"]
  > = async (document, position, context, token, next) => {
    if (this.#silence(document) !== undefined) {
      return undefined;
    }
    const { version } = document;
    this.#count(1);
    try {
      const answer = await next(document, position, context, token);
      const items = Array.isArray(answer) ? answer : (answer?.items ?? []);
      if (!token.isCancellationRequested && document.version === version) {
        this.#display(document, position, items[0]);
      }
      return answer;
    } finally {
      this.#count(-1);
    }
  };

  dispose(): void {
    clearTimeout(this.#thinkingTimer);
    this.#subscriptions.dispose();
  }

  /** VS Code does not say what it shows; it shows the first item that fits the text. */
  #display(
    document: TextDocument,
    position: Position,
    item: InlineCompletionItem | undefined,
  ): void {
    const editor = window.activeTextEditor;
    const range = item?.range;
    if (
      range === undefined ||
      typeof item?.insertText !== "string" ||
      editor?.document !== document ||
      !editor.selection.active.isEqual(position)
    ) {
      this.#displayed = undefined;
      return;
    }
    const left = position.character - range.start.character;
    const cursor = document.offsetAt(position);
    const wire = wireItem(item, item.insertText, range);
    const acceptance = new Acceptance(item.insertText, left, cursor);
    this.#displayed = { document, item: wire, acceptance, isBeingTaken: false };
    this.#displayedEmitter.fire(wire);
  }

  #count(change: 1 | -1): void {
    this.#numAsked += change;
    if (this.#numAsked === 0) {
      clearTimeout(this.#thinkingTimer);
      this.#thinkingTimer = undefined;
      this.#think(false);
    } else {
      // What is answered at once would only flicker.
      this.#thinkingTimer ??= setTimeout(
        () => this.#think(true),
        THINKING_SHOWS_AFTER_MS,
      );
    }
  }

  #think(thinking: boolean): void {
    if (this.#thinking !== thinking) {
      this.#thinking = thinking;
      this.#thinkingEmitter.fire(thinking);
    }
  }
}

function wireItem(
  item: InlineCompletionItem,
  insertText: string,
  range: Range,
): WireItem {
  const { command } = item;
  return {
    insertText,
    range: { start: wirePosition(range.start), end: wirePosition(range.end) },
    ...(command && {
      command: {
        title: command.title,
        command: command.command,
        ...(command.arguments && { arguments: command.arguments }),
      },
    }),
  };
}

function wirePosition({ line, character }: Position): WirePosition {
  return { line, character };
}
