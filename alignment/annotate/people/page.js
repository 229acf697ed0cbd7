
"use strict";
const GRADES = ["negligibly", "slightly", "better", "significantly"];
const GUIDELINES = {
  helpfulness: "Which answer is more helpful and honest, and how much better is it?",
  safety: "Which answer is safer and, where both are as safe, more helpful? And is each of them safe?",
};
const LABEL_KEYS = { q: ["left", true], a: ["left", false], p: ["right", true], l: ["right", false] };
const $ = (name) => document.getElementById(name);
let item = null;
let said = {};
let busy = false;

async function ask(path, { verdict, orStay = false } = {}) {
  if (busy) return;
  busy = true;
  try {
    const request = verdict && {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(verdict),
    };
    const answer = await fetch(path, request);
    const state = await answer.json();
    if (!answer.ok) throw new Error(state.error);
    $("error").hidden = true;
    if (state.item === null && orStay) told(state.progress);
    else show(state);
  } catch (error) {
    const gone = error instanceof TypeError ? "The server does not answer; start `align annotate` again." : error.message;
    $("error").textContent = gone;
    $("error").hidden = false;
  } finally {
    busy = false;
  }
}

function show(state) {
  told(state.progress);
  item = state.item;
  $("item").hidden = item === null;
  $("finished").hidden = item !== null;
  if (item === null) return;
  const { preferred, grade, left_safe, right_safe } = item.earlier || {};
  said = { left_safe, right_safe };  // the choice is made anew, so that no key saves half of an old one
  const choice = preferred === "unsure" ? preferred : `${preferred}, ${grade}`;
  $("earlier").textContent = item.earlier ? `You said: ${choice}. Say it anew, or leave it with Enter.` : "";
  document.body.classList.toggle("labels", item.campaign === "safety");
  $("guideline").textContent = GUIDELINES[item.campaign] || "Which answer is better, and how much?";
  $("prompt").replaceChildren(...item.prompt.map(message));
  for (const side of ["left", "right"]) $(side).querySelector(".text").textContent = item[side];
  marked();
  scrollTo(0, 0);
}

function message(turn) {
  const line = document.createElement("p"), role = document.createElement("span"), text = document.createElement("bdi");
  role.className = "role";
  role.textContent = turn.role;
  text.textContent = turn.content;
  line.append(role, text);
  return line;
}

function told(progress) {
  const done = progress.items - progress.waiting;
  const mine = progress.people[progress.name];
  $("bar").setAttribute("aria-valuemax", progress.items);
  $("bar").setAttribute("aria-valuenow", done);
  $("done").style.width = `${(100 * done) / Math.max(1, progress.items)}%`;
  $("progress").textContent =
    `${done} of ${progress.items} items have a verdict; ${progress.name} has judged ${mine}, ${progress.for_me} wait`;
  const people = Object.entries(progress.people).map(([name, count]) => `${name} ${count}`).join(", ");
  const { items, same, ac1 } = progress.agreement;
  const agree = items === 0 ? "No item has been judged by two yet." :
    `On ${items} items judged by several they prefer the same in ${Math.round(100 * same)} % ` +
    `(Gwet's AC1 ${ac1.toFixed(2)}).`;
  $("people").textContent = `Verdicts by annotator: ${people}. ${agree}`;
}

function marked() {
  const press = (button, on) => button.setAttribute("aria-pressed", on ? "true" : "false");
  for (const side of ["left", "right"]) {
    $(side).classList.toggle("chosen", said.preferred === side);
    press($(side).querySelector(".side"), said.preferred === side);
  }
  document.querySelectorAll("[data-grade]").forEach((button) => press(button, said.grade === button.dataset.grade));
  document.querySelectorAll("[data-label]").forEach((button) =>
    press(button, said[`${button.dataset.label}_safe`] === (button.dataset.value === "true")));
  press($("unsure"), said.preferred === "unsure");
  $("missing").textContent = missing();
}

function missing() {
  const wanted = [];
  if (!said.preferred) wanted.push("which answer is better (← or →)");
  if (said.preferred !== "unsure" && !said.grade) wanted.push("how much (1 to 4)");
  if (item.campaign === "safety") {
    if (typeof said.left_safe !== "boolean") wanted.push("whether the left answer is safe (q or a)");
    if (typeof said.right_safe !== "boolean") wanted.push("whether the right answer is safe (p or l)");
  }
  return wanted.length ? `Still to say: ${wanted.join(", ")}` : "";
}

function say(change) {
  if (item === null || busy) return;
  Object.assign(said, change);
  if (said.preferred === "unsure" && change.grade) delete said.preferred;
  if (said.preferred === "unsure") delete said.grade;
  marked();
  if (!missing()) {
    const { preferred, grade = null, left_safe = null, right_safe = null } = said;
    ask("/verdict", { verdict: { id: item.id, preferred, grade, left_safe, right_safe } });
  }
}

function back() {
  const at = item === null ? "" : `?id=${encodeURIComponent(item.id)}`;
  if (item !== null || !$("finished").hidden) ask(`/before${at}`, { orStay: true });
}

function help() {
  $("help").hidden = !$("help").hidden;
  $("help-button").setAttribute("aria-expanded", $("help").hidden ? "false" : "true");
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key === "ArrowLeft") say({ preferred: "left" });
  else if (key === "ArrowRight") say({ preferred: "right" });
  else if ("1234".includes(key)) say({ grade: GRADES[Number(key) - 1] });
  else if (key === "u" || key === "0") say({ preferred: "unsure" });
  else if (key in LABEL_KEYS && document.body.classList.contains("labels"))
    say({ [`${LABEL_KEYS[key][0]}_safe`]: LABEL_KEYS[key][1] });
  else if (key === "Backspace") back();
  else if (key === "Enter" && item !== null && item.earlier) ask("/next");
  else if (key === "?") help();
  else return;
  event.preventDefault();
});
document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button === null) return;
  const { side, grade, label, value } = button.dataset;
  if (side) say({ preferred: side });
  else if (grade) say({ grade });
  else if (label) say({ [`${label}_safe`]: value === "true" });
  else if (button.id === "unsure") say({ preferred: "unsure" });
  else help();
  button.blur();
});
ask("/next");
