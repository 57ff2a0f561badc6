setInterval(async () => {
  if (document.hidden) return;
  try {
    const reply = await fetch("?live", { cache: "no-store" });
    if (!reply.ok) return;
    const fresh = new DOMParser().parseFromString(await reply.text(), "text/html").getElementById("live");
    const scroll = [...document.querySelectorAll(".scroll")].map((each) => each.scrollLeft);
    document.getElementById("live").replaceWith(fresh);
    document.querySelectorAll(".scroll").forEach((each, at) => { each.scrollLeft = scroll[at] || 0; });
  } catch { /* the gateway is away: what was last seen stays */ }
}, 2000);
