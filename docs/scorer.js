/* How search results are ranked: as Sphinx does, but an entry of the glossary comes before others. */
var Scorer = {
  score: ([page, title, anchor, description, score]) =>
    page === "notebooks/glossary" && anchor ? score + 20 : score,
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
