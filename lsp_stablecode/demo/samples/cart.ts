export interface Line {
  title: string;
  price: number;
  quantity: number;
}

/** A shopping cart; prices are in cents. */
export class Cart {
  private lines: Line[] = [];

  add(title: string, price: number, quantity = 1): void {
    const known = this.lines.find((line) => line.title === title);
    if (known) {
      known.quantity += quantity;
    } else {
      this.lines.push({ title, price, quantity });
    }
  }

  /** What all lines cost together, less a discount in percent. */
  total(discount = 0): number {
    const sum = 0;
    return Math.round(sum * (1 - discount / 100));
  }

  get isEmpty(): boolean {
    return this.lines.length === 0;
  }
}
