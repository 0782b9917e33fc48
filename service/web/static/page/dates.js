"use strict";

// Shows a button beside each field for a date or a time that opens the browser's own picker. What is picked there is
// written into the field as ISO 8601. A field complains about a date that does not exist before it is sent.
(() => {
  if (!HTMLInputElement.prototype.showPicker) return;
  for (const holder of document.querySelectorAll(".date")) {
    const [field, picker] = holder.querySelectorAll("input");
    const button = holder.querySelector("button");
    button.hidden = false;

    // A picker has no fractions of a second.
    const follow = () => (picker.value = field.value.trim().replace(" ", "T").slice(0, 19));

    field.addEventListener("input", () => {
      field.setCustomValidity("");
      follow();
      if (!field.value.trim() || !field.validity.valid) return;
      if (!picker.value) field.setCustomValidity("This date does not exist.");
      else if (!picker.validity.valid) field.setCustomValidity(`Expected a date from ${picker.min} to ${picker.max}.`);
    });
    button.addEventListener("click", () => {
      follow();
      // Some pickers choose a day only, and leave the time as it is.
      if (!picker.value && picker.type === "datetime-local") picker.value = new Date().toISOString().slice(0, 16);
      picker.showPicker();
    });
    picker.addEventListener("input", () => {
      field.value = picker.value.replace("T", " ");
      field.setCustomValidity("");
    });
  }
})();
