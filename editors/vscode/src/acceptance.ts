/**
 * Which part of a shown suggestion the user has taken over.
 *
 * VS Code's stable API tells an extension of whole acceptance only, by the item's
 * command. Accepting a word or a line shows as a change of the document that inserts
 * the suggestion's next characters. So does typing; what tells them apart is the kind
 * of the selection's change that follows, and that is not seen here.
 */

/** One change of a document; offsets count UTF-16 code units of its text. */
export interface Change {
  readonly offset: number;
  readonly removedLength: number;
  readonly text: string;
}

/** A suggestion on the screen, followed while its text is typed or accepted. */
export class Acceptance {
  readonly #text: string;
  #taken: number;
  #cursor: number;

  /**
   * @param text the item's whole text
   * @param taken how much of it stands left of the cursor already
   * @param cursor the cursor's offset in the document
   */
  constructor(text: string, taken: number, cursor: number) {
    this.#text = text;
    this.#taken = taken;
    this.#cursor = cursor;
  }

  /** How much of the text stands in the document, in UTF-16 code units. */
  get taken(): number {
    return this.#taken;
  }

  /**
   * Follow a change; return whether the suggestion still fits behind it.
   *
   * It does not once all of it is there, nor after anything but an insertion of its
   * next characters at the cursor.
   */
  follow(changes: readonly Change[]): boolean {
    const [change] = changes;
    if (change === undefined) {
      // Only the document's state has changed: it was saved, for instance.
      return true;
    }
    const taken = endOf(change.text, this.#text, this.#taken);
    if (
      changes.length > 1 ||
      change.offset !== this.#cursor ||
      change.removedLength > 0 ||
      taken === undefined
    ) {
      return false;
    }
    this.#taken = taken;
    this.#cursor += change.text.length;
    return taken < this.#text.length;
  }
}

/**
 * Return where `part` ends in `text` if it stands there from `start` on.
 *
 * The document's line ends need not be the suggestion's.
 */
function endOf(part: string, text: string, start: number): number | undefined {
  let end = start;
  for (const [number, line] of part.split(/\r?\n/).entries()) {
    if (number > 0) {
      const lineEnd = /^\r?\n/.exec(text.slice(end, end + 2));
      if (lineEnd === null) {
        return undefined;
      }
      end += lineEnd[0].length;
    }
    if (!text.startsWith(line, end)) {
      return undefined;
    }
    end += line.length;
  }
  return end;
}
