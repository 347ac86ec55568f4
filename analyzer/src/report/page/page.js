'use strict';
(() => {
  const all = (selector, within) => [...(within || document).querySelectorAll(selector)];
  const one = (selector, within) => (within || document).querySelector(selector);
  const root = document.documentElement;
  const tip = one('#tip');

  // Theme: what the system says, until the reader says otherwise.
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const toggleTheme = () => {
    const now = root.dataset.theme || (dark.matches ? 'dark' : 'light');
    root.dataset.theme = now === 'dark' ? 'light' : 'dark';
  };
  one('#theme').addEventListener('click', toggleTheme);

  const help = one('#help');
  const showHelp = () => (help.open ? help.close() : help.showModal());
  one('#help-button').addEventListener('click', showHelp);

  // Tips say what a shape knows. They are text, never markup.
  const showTip = (text, x, y) => {
    tip.textContent = text;
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = Math.max(4, Math.min(x + 14, innerWidth - width - 4)) + 'px';
    tip.style.top = (y + 16 + height > innerHeight ? Math.max(4, y - height - 12) : y + 16) + 'px';
  };
  const hideTip = () => { tip.hidden = true; };

  // Heat maps: the grey of a pixel is the level of its cell.
  const levels = new WeakMap();
  const load = (cells) => {
    const canvas = document.createElement('canvas');
    canvas.width = +cells.dataset.columns;
    canvas.height = +cells.dataset.rows;
    const picture = new Image();
    const entry = { x: 0, y: canvas.height - 1, data: null };
    levels.set(cells, entry);
    picture.onload = () => {
      const context = canvas.getContext('2d', { willReadFrequently: true });
      context.drawImage(picture, 0, 0);
      entry.data = context.getImageData(0, 0, canvas.width, canvas.height).data;
    };
    picture.src = cells.getAttribute('href');
    return entry;
  };
  const digits = (n) => n.toPrecision(3).replace(/(\.\d*?)0+$/, '$1').replace(/\.$/, '');
  const span = (ns) => {
    const size = Math.abs(ns);
    const [unit, each] = size < 1e3 ? ['ns', 1] : size < 1e6 ? ['µs', 1e3] : size < 1e9 ? ['ms', 1e6] : ['s', 1e9];
    const scaled = ns / each;
    return (Math.abs(scaled) >= 1000 ? scaled.toFixed(0) : digits(scaled)) + ' ' + unit;
  };
  const place = (axis, from, to) => {
    const at = (low, high, part) => low + (high - low) * part;
    switch (axis.kind) {
      case 'time': {
        const clock = (ms) => new Date(ms).toISOString().slice(11, 23);
        return clock(at(axis.from_ms, axis.to_ms, from)) + ' to ' + clock(at(axis.from_ms, axis.to_ms, to));
      }
      case 'seconds': {
        const ends = [from, to].map((part) => at(axis.from_s, axis.to_s, part) * 1e9).sort((a, b) => a - b);
        return span(ends[0]) + ' to ' + span(ends[1]) + ' ' + axis.since;
      }
      case 'log':
        return span(10 ** at(axis.from, axis.to, from)) + ' to ' + span(10 ** at(axis.from, axis.to, to));
      default:
        return '';
    }
  };
  const amount = (scale, level) => {
    if (level === 0) return 'no ' + (scale.kind === 'count' ? scale.what.replace(' in a cell', '') : 'requests');
    const part = (level - 1) / 254;
    if (scale.kind === 'duration') {
      return scale.what.replace(' of a cell', '') + (level === 1 ? ' up to ' : ' ') + span(scale.low_ns * (scale.high_ns / scale.low_ns) ** part);
    }
    const n = Math.expm1(part * Math.log1p(Math.max(1, scale.max)));
    return (n > 20 ? 'about ' + digits(n) : Math.max(1, Math.round(n))) + ' ' + scale.what.replace(' in a cell', '');
  };
  const say = (cells, entry) => {
    if (!entry.data) return '';
    const [columns, rows] = [+cells.dataset.columns, +cells.dataset.rows];
    const offset = 4 * (entry.y * columns + entry.x);
    const level = entry.data[offset + 3] === 0 ? 0 : entry.data[offset];
    const [x, y] = [JSON.parse(cells.dataset.x), JSON.parse(cells.dataset.y)];
    const lines = [amount(JSON.parse(cells.dataset.scale), level)];
    if (x.kind === 'cycle') {
      const first = x.first + entry.x * x.each;
      lines.push('cycle ' + first + (x.each > 1 ? ' to ' + (first + x.each - 1) : ''));
    } else {
      lines.push(place(x, entry.x / columns, (entry.x + 1) / columns));
    }
    lines.push(place(y, 1 - (entry.y + 1) / rows, 1 - entry.y / rows));
    return lines.join('\n');
  };
  const pointAt = (cells, event) => {
    const box = cells.getBoundingClientRect();
    const entry = levels.get(cells) || load(cells);
    const part = (value, from, size, count) =>
      Math.max(0, Math.min(count - 1, Math.floor((value - from) / size * count)));
    entry.x = part(event.clientX, box.left, box.width, +cells.dataset.columns);
    entry.y = part(event.clientY, box.top, box.height, +cells.dataset.rows);
    const text = say(cells, entry);
    if (text) showTip(text, event.clientX, event.clientY);
  };
  const moveIn = (cells, dx, dy) => {
    const entry = levels.get(cells) || load(cells);
    const [columns, rows] = [+cells.dataset.columns, +cells.dataset.rows];
    entry.x = Math.max(0, Math.min(columns - 1, entry.x + dx));
    entry.y = Math.max(0, Math.min(rows - 1, entry.y + dy));
    const box = cells.getBoundingClientRect();
    const text = say(cells, entry);
    if (text) showTip(text, box.left + (entry.x + .5) * box.width / columns, box.top + (entry.y + .5) * box.height / rows);
  };
  all('image.cells').filter((cells) => +cells.dataset.rows > 1).forEach((cells) => {
    cells.setAttribute('tabindex', '0');
    cells.setAttribute('role', 'application');
    cells.setAttribute('aria-label', 'Cells: arrow keys read them');
    cells.addEventListener('focus', () => { if (cells.matches(':focus-visible')) moveIn(cells, 0, 0); });
    cells.addEventListener('blur', hideTip);
  });
  document.addEventListener('pointermove', (event) => {
    const cells = event.target.closest && event.target.closest('image.cells[tabindex]');
    const holder = event.target.closest && event.target.closest('[data-tip]');
    if (holder) showTip(holder.dataset.tip, event.clientX, event.clientY);
    else if (cells) pointAt(cells, event);
    else if (!document.activeElement || !document.activeElement.matches('[data-tip]:focus-visible, image.cells:focus-visible')) hideTip();
  });
  document.addEventListener('pointerdown', (event) => {
    const holder = event.target.closest && event.target.closest('[data-tip]');
    if (holder) showTip(holder.dataset.tip, event.clientX, event.clientY);
  });
  addEventListener('scroll', hideTip, { passive: true });

  // Groups of which one is reached by Tab and the others by arrow keys.
  const rove = (members) => members.forEach((member, place) => {
    member.setAttribute('tabindex', place === 0 ? '0' : '-1');
    member.addEventListener('focus', () => {
      members.forEach((other) => other.setAttribute('tabindex', other === member ? '0' : '-1'));
      const box = member.getBoundingClientRect();
      if (member.dataset.tip && member.matches(':focus-visible')) showTip(member.dataset.tip, box.left + 20, box.bottom - 8);
    });
    member.addEventListener('blur', hideTip);
    member.addEventListener('keydown', (event) => {
      const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
      const flat = event.key === 'ArrowLeft' || event.key === 'ArrowRight';
      if (!step || (flat && member.closest('.traces'))) return;
      const next = members[place + step];
      if (next) next.focus();
      event.preventDefault();
      event.stopPropagation();
    });
  });
  all('svg').forEach((svg) => rove(all('.tip', svg)));
  all('table.rove tbody').forEach((body) => rove(all('tr', body)));

  // One series at a time.
  const series = one('#series');
  const showSeries = () => all('[data-series]').forEach((figure) => { figure.hidden = figure.dataset.series !== series.value; });
  if (series) { series.addEventListener('change', showSeries); showSeries(); }

  // One trace at a time.
  const step = (group, by) => {
    const traces = all('.trace', group);
    const now = traces.findIndex((trace) => !trace.hidden);
    const next = (now + by + traces.length) % traces.length;
    traces.forEach((trace, place) => { trace.hidden = place !== next; });
    const where = one('.where', group);
    if (where) where.textContent = (next + 1) + ' of ' + traces.length;
  };
  all('.traces').forEach((group) => {
    const traces = all('.trace', group);
    traces.forEach((trace, place) => { trace.hidden = place !== 0; });
    all('button[data-step]', group).forEach((button) => button.addEventListener('click', () => step(group, +button.dataset.step)));
    if (traces.length > 1) step(group, 0);
    group.addEventListener('keydown', (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!by) return;
      step(group, by);
      event.preventDefault();
    });
  });
  // On paper everything is there.
  addEventListener('beforeprint', () => {
    all('.trace').forEach((trace) => { trace.hidden = false; });
    all('details').forEach((details) => { details.open = true; });
  });

  const copied = (button, words) => {
    const before = button.textContent;
    button.textContent = words;
    setTimeout(() => { button.textContent = before; }, 1200);
  };
  all('button.copy').forEach((button) => button.addEventListener('click', () => {
    const code = one('code', button.parentElement);
    const select = () => {
      getSelection().selectAllChildren(code);
      copied(button, 'Selected');
    };
    if (!navigator.clipboard) { select(); return; }
    navigator.clipboard.writeText(code.textContent).then(() => copied(button, 'Copied'), select);
  }));

  const held = one('#examples') ? JSON.parse(one('#examples').textContent) : { sets: {}, texts: [] };

  // A number opens the statement that gives the rows it was made of, as a command to run.
  const word = (text) => "'" + text.replaceAll("'", "'\\''") + "'";
  const rowsOf = one('#rows');
  all('button.rows').forEach((button) => button.addEventListener('click', () => {
    one('p', rowsOf).textContent = button.textContent;
    one('code', rowsOf).textContent = 'retrospan sql ' + word(held.capture || 'CAPTURE') + ' ' + word(button.dataset.sql);
    rowsOf.showModal();
  }));

  // A click on a cell shows requests of it, a second cell what differs between the two.
  const kinds = [['outcome', 2], ['asked for', 3], ['from', 4], ['process', 5]];
  const node = (name, text, of) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (of) of.append(made);
    return made;
  };
  const inCell = (cells, entry) => {
    const set = held.sets[cells.dataset.examples];
    const [columns, rows] = [+cells.dataset.columns, +cells.dataset.rows];
    const [x, y] = [JSON.parse(cells.dataset.x), JSON.parse(cells.dataset.y)];
    const ends = (low, high, from, to) => [from, to].map((part) => low + (high - low) * part).sort((a, b) => a - b);
    const up = [1 - (entry.y + 1) / rows, 1 - entry.y / rows];
    const within = (value, [low, high]) => value >= low && value < high;
    if (x.kind === 'time') {
      const time = ends(x.from_ms, x.to_ms, entry.x / columns, (entry.x + 1) / columns);
      const latency = ends(y.from, y.to, ...up);
      return set.requests.filter((row) =>
        within(row[0] + held.utc_offset_ms, time) && within(Math.log10(Math.max(1, row[1])), latency));
    }
    const [tooth, period, before] = set.fold;
    const since = ends(y.from_s, y.to_s, ...up);
    const first = x.first + entry.x * x.each;
    return set.requests.filter((row) => {
      const turns = (row[0] - tooth) / period + before;
      const cycle = Math.floor(turns);
      return within(cycle + 1, [first, first + x.each]) && within((turns - cycle - before) * period / 1e3, since);
    });
  };
  const listOf = (cell, into) => {
    node('p', cell.says, into).className = 'quiet';
    if (!cell.requests.length) {
      node('p', 'No request of this cell is in the page.', into);
      return;
    }
    const scroll = node('div', undefined, into);
    scroll.className = 'scroll tall';
    const table = node('table', undefined, scroll);
    const heads = node('tr', undefined, node('thead', undefined, table));
    ['began', 'took', ...kinds.map(([name]) => name), 'trace'].forEach((name) => node('th', name, heads));
    const body = node('tbody', undefined, table);
    [...cell.requests].sort((a, b) => b[1] - a[1]).forEach((row) => {
      const line = node('tr', undefined, body);
      node('td', new Date(row[0] + held.utc_offset_ms).toISOString().slice(11, 23), line);
      node('td', span(row[1]), line).className = 'n';
      kinds.forEach(([, place]) => { node('td', held.texts[row[place]], line).className = place === 3 ? 'wide' : ''; });
      const trace = node('td', undefined, line);
      const id = node('code', row[6], trace);
      const button = node('button', 'Copy', trace);
      button.type = 'button';
      button.addEventListener('click', () => {
        const done = () => copied(button, 'Copied');
        const select = () => { getSelection().selectAllChildren(id); copied(button, 'Selected'); };
        if (navigator.clipboard) navigator.clipboard.writeText(row[6]).then(done, select); else select();
      });
    });
  };
  const differences = ([here, there]) => kinds.flatMap(([name, place]) => {
    const share = (cell, text) => cell.requests.filter((row) => row[place] === text).length;
    const texts = new Set([...here.requests, ...there.requests].map((row) => row[place]));
    return [...texts].map((text) => {
      const [a, b] = [share(here, text), share(there, text)];
      const gap = a / Math.max(1, here.requests.length) - b / Math.max(1, there.requests.length);
      return { gap: Math.abs(gap), words: name + ' ' + (held.texts[text] || '(none)') + ': ' + a + ' of ' + here.requests.length +
        ' in the first, ' + b + ' of ' + there.requests.length + ' in the second' };
    });
  }).filter(({ gap }) => gap >= .25).sort((a, b) => b.gap - a.gap).slice(0, 8);
  let chosen = [];
  let comparing = false;
  const showCell = (cells) => {
    const entry = levels.get(cells);
    if (!entry || !cells.dataset.examples || !held.sets[cells.dataset.examples]) return;
    const cell = { says: say(cells, entry).replaceAll('\n', ', '), requests: inCell(cells, entry) };
    chosen = comparing && chosen.length ? [chosen[0], cell] : [cell];
    comparing = false;
    const old = one('#cell');
    if (old) old.remove();
    const panel = document.createElement('div');
    panel.id = 'cell';
    panel.tabIndex = -1;
    cells.closest('svg').after(panel);
    node('h4', chosen.length > 1 ? 'Two cells' : 'In this cell', panel);
    chosen.forEach((one) => listOf(one, panel));
    if (chosen.length > 1) {
      const found = differences(chosen);
      node('h4', 'What differs', panel);
      const list = node('ul', undefined, panel);
      found.forEach(({ words }) => node('li', words, list));
      if (!found.length) node('li', 'Nothing, as far as the requests in this page tell.', list);
    }
    const steps = node('p', undefined, panel);
    steps.className = 'steps';
    const compare = node('button', 'Compare with another cell', steps);
    compare.addEventListener('click', () => { comparing = true; chosen = chosen.slice(-1); compare.textContent = 'Now choose the other cell'; });
    const close = node('button', 'Close', steps);
    close.addEventListener('click', () => { panel.remove(); cells.focus(); });
    [compare, close].forEach((button) => { button.type = 'button'; });
    node('span', 'A few requests of each cell are in the page. All of a trace: retrospan trace ' + held.capture + ' ID', steps).className = 'quiet';
  };
  all('image.cells[data-examples]').forEach((cells) => cells.addEventListener('click', (event) => {
    pointAt(cells, event);
    comparing = comparing || (event.shiftKey && chosen.length > 0);
    showCell(cells);
  }));

  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const focus = document.activeElement;
    if (focus && focus.matches('image.cells')) {
      if (event.key === 'Enter') { showCell(focus); return; }
      const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (move) {
        moveIn(focus, ...move.map((by) => by * (event.shiftKey ? 10 : 1)));
        event.preventDefault();
        return;
      }
    }
    if (event.target.matches('select, input, textarea')) return;
    const go = (id) => {
      const target = document.getElementById(id);
      if (target) { target.scrollIntoView(); target.focus({ preventScroll: true }); }
    };
    if (event.key === '?') showHelp();
    else if (event.key === 'Escape') hideTip();
    else if (event.key === 'd') toggleTheme();
    else if (event.key === 'h') go('latency');
    else if (event.key === 's' && series) { go('latency'); series.focus(); event.preventDefault(); }
    else if (event.key === 'm') go('map');
    else if (event.key === 't') go('traces');
    else if (/^[1-9]$/.test(event.key)) go('finding-' + event.key);
  });
})();
