/* What scrolls sideways can be reached by the keyboard: code and tables wider than the page. */

function markScrolling() {
  for (const box of document.querySelectorAll("pre, .table-wrapper, .cell_output > .output")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}

markScrolling();
window.addEventListener("resize", markScrolling);
