/**
 * What this tab remembers until it is closed: the key, and what was typed. Other tabs do not see
 * it. Browsers that keep nothing for this page forget it on reload.
 */

/** Return what was remembered under a name, or null. */
export function recall(name) {
  try {
    return sessionStorage.getItem(`higgs-${name}`);
  } catch {
    return null;
  }
}

/** Remember a text under a name; null forgets it. */
export function remember(name, text) {
  try {
    if (text === null) sessionStorage.removeItem(`higgs-${name}`);
    else sessionStorage.setItem(`higgs-${name}`, text);
  } catch {
    // Not kept: the page works without it.
  }
}
