// The screen of a terminal: what an xterm does with bytes, as far as shells, editors and pagers ask for it.
// Cells hold text alone; nothing that a program writes ever becomes HTML.

const BLANK = " ";
const MOST_LINES = 2000;

/** Columns and rows of cells, a cursor, and what is above the top. */
export class Screen {
  constructor(cols, rows) {
    this.answers = []; // what the program asked the terminal to say
    this.title = "";
    this.above = [];
    this.reset(cols, rows);
  }

  reset(cols = this.cols, rows = this.rows) {
    this.cols = cols;
    this.rows = rows;
    this.lines = Array.from({ length: rows }, () => this.blank());
    this.x = this.y = 0;
    this.wrapping = false;
    this.top = 0;
    this.bottom = rows - 1;
    this.pen = plain();
    this.saved = null;
    this.other = null; // the main screen, while the alternate one is shown
    this.hidden = false;
    this.autowrap = true;
    this.appKeys = false;
    this.bracketed = false;
    this.state = "text";
    this.args = "";
  }

  blank() {
    return Array.from({ length: this.cols }, () => ({ text: BLANK, pen: this.pen ?? plain() }));
  }

  resize(cols, rows) {
    for (const lines of [this.lines, this.other?.lines ?? []]) {
      for (const line of lines) {
        while (line.length < cols) line.push({ text: BLANK, pen: plain() });
        line.length = cols;
      }
    }
    this.cols = cols;
    while (this.lines.length > rows) {
      const gone = this.y > 0 ? this.lines.shift() : this.lines.pop();
      if (this.y > 0) {
        if (!this.other) this.keep(gone);
        this.y--;
      }
    }
    while (this.lines.length < rows) this.lines.push(this.blank());
    if (this.other) {
      this.other.lines.length = Math.min(this.other.lines.length, rows);
      while (this.other.lines.length < rows) this.other.lines.push(this.blank());
    }
    this.rows = rows;
    this.top = 0;
    this.bottom = rows - 1;
    this.x = Math.min(this.x, cols - 1);
    this.y = Math.min(this.y, rows - 1);
  }

  write(text) {
    for (const char of text) this[this.state](char);
  }

  text(char) {
    const code = char.codePointAt(0);
    if (code === 27) this.state = "escape";
    else if (code >= 32 && code !== 127) this.put(char);
    else if (code === 13) this.moveTo(0, this.y);
    else if (code === 10 || code === 11 || code === 12) this.feed();
    else if (code === 8) this.moveTo(this.x - 1, this.y);
    else if (code === 9) this.moveTo((Math.floor(this.x / 8) + 1) * 8, this.y);
  }

  put(char) {
    if (/\p{Mn}/u.test(char)) {
      const cell = this.lines[this.y][Math.max(0, this.x - (this.wrapping ? 0 : 1))];
      if (cell.text.length < 16) cell.text += char;
      return;
    }
    if (this.wrapping && this.autowrap) {
      this.x = 0;
      this.feed();
    }
    this.lines[this.y][this.x] = { text: char, pen: this.pen };
    this.wrapping = this.x === this.cols - 1;
    if (!this.wrapping) this.x++;
  }

  feed() {
    this.wrapping = false;
    if (this.y === this.bottom) this.scroll(1);
    else this.y = Math.min(this.y + 1, this.rows - 1);
  }

  scroll(count) {
    for (let n = Math.min(Math.abs(count), this.rows); n > 0; n--) {
      if (count > 0) {
        const [gone] = this.lines.splice(this.top, 1);
        if (this.top === 0 && !this.other) this.keep(gone);
        this.lines.splice(this.bottom, 0, this.blank());
      } else {
        this.lines.splice(this.bottom, 1);
        this.lines.splice(this.top, 0, this.blank());
      }
    }
  }

  keep(line) {
    this.above.push(line);
    if (this.above.length > MOST_LINES) this.above.shift();
  }

  moveTo(x, y) {
    this.wrapping = false;
    this.x = Math.max(0, Math.min(x, this.cols - 1));
    this.y = Math.max(0, Math.min(y, this.rows - 1));
  }

  escape(char) {
    this.state = "text";
    this.args = "";
    if (char === "[") this.state = "control";
    else if (char === "]" || char === "P" || char === "_" || char === "^") this.state = "words";
    else if ("()*+#%".includes(char)) this.state = "skip";
    else if (char === "7") this.save();
    else if (char === "8") this.restore();
    else if (char === "D") this.feed();
    else if (char === "E") (this.moveTo(0, this.y), this.feed());
    else if (char === "M") this.y === this.top ? this.scroll(-1) : this.moveTo(this.x, this.y - 1);
    else if (char === "c") this.reset();
  }

  skip() {
    this.state = "text";
  }

  words(char) {
    if (char === "\x07") this.state = "text";
    else if (char === "\x1b") this.state = "skip"; // ESC \ ends them
    else if (this.args.length < 4096) this.args += char;
  }

  control(char) {
    if (char >= "@" && char <= "~") {
      this.state = "text";
      this.act(char);
    } else if (char === "\x1b") this.state = "escape";
    else if (this.args.length < 256) this.args += char;
  }

  act(final) {
    const mark = /^[<=>?]/.test(this.args) ? this.args[0] : "";
    const given = this.args.replace(/^[<=>?]/, "").replace(/:/g, ";").split(";").map((each) => parseInt(each, 10));
    const one = Math.max(1, given[0] || 1);
    if (mark === "?") return final === "h" || final === "l" ? given.forEach((mode) => this.mode(mode, final === "h")) : undefined;
    if (mark) return undefined;
    switch (final) {
      case "A": return this.moveTo(this.x, Math.max(this.y - one, this.y >= this.top ? this.top : 0));
      case "B": case "e": return this.moveTo(this.x, Math.min(this.y + one, this.y <= this.bottom ? this.bottom : this.rows - 1));
      case "C": case "a": return this.moveTo(this.x + one, this.y);
      case "D": return this.moveTo(this.x - one, this.y);
      case "E": return this.moveTo(0, this.y + one);
      case "F": return this.moveTo(0, this.y - one);
      case "G": case "`": return this.moveTo(one - 1, this.y);
      case "d": return this.moveTo(this.x, one - 1);
      case "H": case "f": return this.moveTo((given[1] || 1) - 1, one - 1);
      case "J": return this.eraseScreen(given[0] || 0);
      case "K": return this.eraseLine(given[0] || 0);
      case "L": return this.insertLines(one);
      case "M": return this.deleteLines(one);
      case "P": return this.shift(-Math.min(one, this.cols));
      case "@": return this.shift(Math.min(one, this.cols));
      case "X": return this.erase(this.y, this.x, this.x + one);
      case "S": return this.scroll(one);
      case "T": return this.scroll(-one);
      case "m": return this.paint(given);
      case "r": return this.region(one - 1, (given[1] || this.rows) - 1);
      case "s": return this.save();
      case "u": return this.restore();
      case "n": return given[0] === 6 ? this.answers.push(`\x1b[${this.y + 1};${this.x + 1}R`) : undefined;
      case "c": return this.answers.push("\x1b[?1;2c");
      default: return undefined;
    }
  }

  region(top, bottom) {
    if (top >= bottom || bottom >= this.rows) [top, bottom] = [0, this.rows - 1];
    this.top = top;
    this.bottom = bottom;
    this.moveTo(0, 0);
  }

  mode(number, on) {
    if (number === 1) this.appKeys = on;
    else if (number === 7) this.autowrap = on;
    else if (number === 25) this.hidden = !on;
    else if (number === 2004) this.bracketed = on;
    else if (number === 47 || number === 1047 || number === 1049) this.alternate(on);
  }

  alternate(on) {
    if (on && !this.other) {
      this.other = { lines: this.lines, x: this.x, y: this.y };
      this.lines = Array.from({ length: this.rows }, () => this.blank());
    } else if (!on && this.other) {
      this.lines = this.other.lines;
      this.moveTo(this.other.x, this.other.y);
      this.other = null;
    }
    this.top = 0;
    this.bottom = this.rows - 1;
  }

  save() {
    this.saved = { x: this.x, y: this.y, pen: this.pen };
  }

  restore() {
    if (!this.saved) return;
    this.moveTo(this.saved.x, this.saved.y);
    this.pen = this.saved.pen;
  }

  erase(y, from, to) {
    for (let x = Math.max(0, from); x < Math.min(to, this.cols); x++) this.lines[y][x] = { text: BLANK, pen: this.pen };
  }

  eraseLine(how) {
    this.erase(this.y, how === 0 ? this.x : 0, how === 1 ? this.x + 1 : this.cols);
  }

  eraseScreen(how) {
    if (how === 3) this.above = [];
    if (how === 0 || how === 1) this.eraseLine(how);
    for (let y = 0; y < this.rows; y++) if (how === 2 || (how === 0 && y > this.y) || (how === 1 && y < this.y)) this.erase(y, 0, this.cols);
  }

  insertLines(count) {
    if (this.y < this.top || this.y > this.bottom) return;
    for (let n = Math.min(count, this.rows); n > 0; n--) {
      this.lines.splice(this.bottom, 1);
      this.lines.splice(this.y, 0, this.blank());
    }
  }

  deleteLines(count) {
    if (this.y < this.top || this.y > this.bottom) return;
    for (let n = Math.min(count, this.rows); n > 0; n--) {
      this.lines.splice(this.y, 1);
      this.lines.splice(this.bottom, 0, this.blank());
    }
  }

  shift(count) {
    const line = this.lines[this.y];
    const blanks = Array.from({ length: Math.abs(count) }, () => ({ text: BLANK, pen: this.pen }));
    if (count > 0) line.splice(this.x, 0, ...blanks);
    else line.push(...(line.splice(this.x, -count), blanks));
    line.length = this.cols;
    for (let x = 0; x < this.cols; x++) line[x] ??= { text: BLANK, pen: this.pen };
  }

  paint(given) {
    const pen = { ...this.pen };
    for (let at = 0; at < given.length; at++) {
      const code = given[at] || 0;
      if (code === 0) Object.assign(pen, plain());
      else if (code === 1) pen.bold = true;
      else if (code === 3) pen.italic = true;
      else if (code === 4) pen.under = true;
      else if (code === 7) pen.reverse = true;
      else if (code === 22) pen.bold = false;
      else if (code === 23) pen.italic = false;
      else if (code === 24) pen.under = false;
      else if (code === 27) pen.reverse = false;
      else if (code === 39) pen.fore = null;
      else if (code === 49) pen.back = null;
      else if (code === 38 || code === 48) {
        const [colour, used] = extended(given.slice(at + 1));
        pen[code === 38 ? "fore" : "back"] = colour;
        at += used;
      } else if (code >= 30 && code <= 37) pen.fore = palette(code - 30);
      else if (code >= 40 && code <= 47) pen.back = palette(code - 40);
      else if (code >= 90 && code <= 97) pen.fore = palette(code - 82);
      else if (code >= 100 && code <= 107) pen.back = palette(code - 92);
    }
    this.pen = pen;
  }
}

function plain() {
  return { fore: null, back: null, bold: false, italic: false, under: false, reverse: false };
}

function extended([kind, ...rest]) {
  if (kind === 5) return [palette(rest[0] || 0), 2];
  if (kind === 2) return [`rgb(${rest.slice(0, 3).map((each) => Math.min(255, each || 0)).join(",")})`, 4];
  return [null, 1];
}

const BASE = ["#2e3436", "#ef5350", "#8ae234", "#fce94f", "#729fcf", "#d48cd0", "#34e2e2", "#d3d7cf",
  "#888a85", "#ff7b72", "#b5f27b", "#fff59d", "#9ecbff", "#e5a8e2", "#7fffff", "#ffffff"];

function palette(number) {
  if (number < 16) return BASE[number];
  if (number >= 232) {
    const grey = 8 + (Math.min(number, 255) - 232) * 10;
    return `rgb(${grey},${grey},${grey})`;
  }
  const level = (each) => (each ? 55 + each * 40 : 0);
  const cube = number - 16;
  return `rgb(${level(Math.floor(cube / 36))},${level(Math.floor(cube / 6) % 6)},${level(cube % 6)})`;
}
