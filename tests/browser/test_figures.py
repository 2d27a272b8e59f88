"""The interactive figures in a browser: by keyboard, by pointer, by ear, in both themes, and without JavaScript."""

import math
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from bncourse.experiments import gradient_profiles
from bncourse.kernels.floor import DEVICES, bound, flops_per_value, intensity
from tests.browser.windows import THEMES, WIDTHS, contrast

pytestmark = pytest.mark.browser

PLACES = {
    "transform": "book/1_transform/2_the_transform.html",
    "projections": "book/2_backprop/2_closed_form.html",
    "roofline": "book/3_kernel/1_bytes_not_flops.html",
    "gradients": "book/6_placement/2_residual_networks.html",
}
Opened = Callable[..., Locator]
CONTROLS = ":is(input, select):visible"

# The colour in which every part of a drawing appears on the page, and the page behind it.
COLOURS = """
(figure) => {
  const back = getComputedStyle(document.body).backgroundColor;
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const seen = (colour, opacity) => {
    const [over, under] = [parse(colour), parse(back)];
    return "rgb(" + [0, 1, 2].map((i) => over[i] * opacity + under[i] * (1 - opacity)).join(", ") + ")";
  };
  // An interval is pale beside its line; its ends are told in words.
  const drawn = "svg :is(path:not(.figure-interval), rect, circle, text)";
  const written = "p:not(.figure-summary), strong, label, output, button, select";
  const parts = [...figure.querySelectorAll(`${drawn}, ${written}`)];
  return parts.filter((part) => part.getClientRects().length).map((part) => {
    const style = getComputedStyle(part);
    const name = `${part.tagName} ${part.getAttribute("class") || ""}`;
    const text = !part.ownerSVGElement || part.tagName === "text";
    if (!part.ownerSVGElement) return [name, style.color, back, text];
    // What has an outline is told from the page by it.
    const outlined = style.stroke !== "none" && part.getAttribute("class") === "figure-band";
    const filled = style.fill !== "none" && part.tagName !== "path" || part.classList.contains("figure-bars");
    return filled && !outlined
      ? [name, seen(style.fill, Number(style.fillOpacity)), back, text]
      : [name, seen(style.stroke, Number(style.strokeOpacity)), back, text];
  });
}
"""


@pytest.fixture
def opened(opened: Callable[..., Page]) -> Opened:
    """Opens the page of a figure and returns the figure."""

    def show(name: str, width: str = "desk", theme: str = "light", **options: bool) -> Locator:
        figure = opened(PLACES[name], width, theme, **options).locator(f"#interactive-{name} > .interactive-figure")
        figure.scroll_into_view_if_needed()
        return figure

    return show


def description(figure: Locator, title: str) -> str:
    """Return what a drawing tells a screen reader."""
    drawing = figure.get_by_role("img", name=title)
    named = drawing.get_attribute("aria-describedby")
    return figure.page.locator(f"#{named}").text_content() or ""


def numbers(text: str) -> list[float]:
    return [float(number.replace("−", "-")) for number in re.findall(r"−?\d+(?:\.\d+)?", text)]


def value(slider: Locator) -> float:
    return float(slider.input_value())


@pytest.mark.parametrize("name", PLACES)
def test_a_figure_takes_the_place_of_its_text(name: str, opened: Opened) -> None:
    figure = opened(name)
    expect(figure).to_be_visible()
    place = figure.page.locator(f"#interactive-{name}")
    assert place.evaluate("place => place.children.length") == 1
    expect(figure).to_have_attribute("role", "group")


@pytest.mark.parametrize("name", PLACES)
def test_everything_in_it_has_a_name_and_every_picture_a_description(name: str, opened: Opened) -> None:
    figure = opened(name)
    controls = figure.locator(CONTROLS)
    assert controls.count() >= 5
    labels = []
    for control in controls.all():
        label = control.evaluate("node => node.ariaLabel || node.labels[0].textContent")
        labels.append(label)
        is_list = control.evaluate("node => node.tagName") == "SELECT"
        named = figure.get_by_role("combobox" if is_list else "slider", name=label, exact=True)
        expect(named).to_have_count(1)
        assert is_list or named.get_attribute("aria-valuetext")
    assert len(set(labels)) == len(labels)
    for picture in figure.get_by_role("img").all():
        title = picture.locator("title").text_content()
        assert title
        assert len(numbers(description(figure, title))) >= 2
    for button in figure.get_by_role("button").all():
        assert (button.text_content() or "").strip()


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_and_can_be_hit(name: str, width: str, opened: Opened) -> None:
    """Every control is 24 pixels or more in both directions, and nothing is wider than the figure."""
    figure = opened(name, width)
    for control in [*figure.locator(CONTROLS).all(), *figure.get_by_role("button").all()]:
        box = control.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 24
    outside = figure.evaluate(
        """figure => {
          const edge = figure.getBoundingClientRect();
          return [...figure.querySelectorAll("*:not(.figure-summary)")].filter((part) => {
            const box = part.getBoundingClientRect();
            return box.width && (box.right > edge.right + 0.5 || box.left < edge.left - 0.5);
          }).map((part) => part.outerHTML.slice(0, 80));
        }"""
    )
    assert outside == []
    cut = figure.evaluate(
        """figure => [...figure.querySelectorAll("svg text")].filter((text) => {
          const [box, edge] = [text.getBoundingClientRect(), text.ownerSVGElement.getBoundingClientRect()];
          return box.right > edge.right + 0.5 || box.left < edge.left - 0.5 || box.bottom > edge.bottom + 0.5;
        }).map((text) => text.textContent)"""
    )
    assert cut == [], "numbers are cut off"


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("theme", THEMES)
def test_it_can_be_read_in_both_themes(name: str, theme: str, opened: Opened) -> None:
    """Text has a contrast of 4.5, lines and areas 3, as WCAG 2 asks."""
    colours = opened(name, theme=theme).evaluate(COLOURS)
    assert len(colours) > 30
    weak = {part for part, front, back, text in colours if contrast((front, back)) < (4.5 if text else 3)}
    assert weak == set()


@pytest.mark.parametrize("name", PLACES)
def test_the_focus_is_seen(name: str, opened: Opened) -> None:
    figure = opened(name)
    kinds = [figure.locator(f"{kind}:visible") for kind in ("input", "select", "button")]
    for control in [kind.last for kind in kinds if kind.count()]:
        figure.page.keyboard.press("Tab")  # so that focus counts as the keyboard's
        control.focus()
        assert control.evaluate("node => getComputedStyle(node).outlineStyle") == "solid"
        assert control.evaluate("node => parseFloat(getComputedStyle(node).outlineWidth)") >= 2


@pytest.mark.parametrize("name", PLACES)
def test_without_javascript_its_text_stays(name: str, browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}/{PLACES[name]}")
    place = page.locator(f"#interactive-{name}")
    expect(place.locator("p")).to_contain_text("where JavaScript runs")
    expect(place.locator("p")).to_be_visible()
    expect(place.locator("input")).to_have_count(0)
    context.close()


def test_where_its_module_fails_its_text_stays(browser: Browser, address: str) -> None:
    page = browser.new_page()
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.route("**/figures/draws.mjs", lambda route: route.abort())
    page.goto(f"{address}/{PLACES['transform']}", wait_until="load")
    page.wait_for_timeout(200)
    expect(page.locator("#interactive-transform > p")).to_be_visible()
    assert any("figure transform was not drawn" in message for message in messages)
    page.close()


def test_a_larger_batch_by_keyboard(opened: Opened) -> None:
    """An arrow key changes the output, the drawings, and what is read out."""
    figure = opened("transform")
    size = figure.get_by_role("slider", name="batch size m")
    spoken = figure.locator("[aria-live=polite]")
    expect(spoken).to_contain_text("of 16")
    assert numbers(description(figure, "Means of the last 50 batches"))[2] == 0.5
    size.focus()
    size.press("ArrowRight")
    size.press("ArrowRight")
    expect(figure.locator("output").first).to_have_text("64")
    assert size.get_attribute("aria-valuetext") == "64"
    assert numbers(description(figure, "Means of the last 50 batches"))[2] == 0.25
    assert numbers(description(figure, "The batch before"))[0] == 64
    expect(spoken).to_contain_text("of 64")


def test_what_is_read_out_waits_for_the_slider_to_rest(opened: Opened) -> None:
    """Catches a summary that speaks at every step."""
    figure = opened("transform")
    figure.locator("[aria-live]").evaluate(
        "node => { window.said = 0; new MutationObserver(() => window.said += 1).observe(node, {childList: true}); }"
    )
    size = figure.get_by_role("slider", name="feature's mean")
    size.focus()
    for _ in range(6):
        size.press("ArrowRight")
    figure.page.wait_for_function("window.said > 0")
    assert figure.page.evaluate("window.said") == 1


def test_another_batch_by_button_and_by_key(opened: Opened) -> None:
    figure = opened("transform")
    seen = [description(figure, "The batch before")]
    button = figure.get_by_role("button", name="Draw another batch")
    button.click()
    seen.append(description(figure, "The batch before"))
    figure.get_by_role("slider", name="eps").focus()
    figure.page.keyboard.press("d")
    seen.append(description(figure, "The batch before"))
    assert len(set(seen)) == 3, "three batches, three means"
    expect(figure.locator("[aria-live]")).to_contain_text("Batch 52,")
    figure.page.evaluate("document.activeElement.blur()")
    figure.page.keyboard.press("d")
    figure.get_by_role("slider", name="eps").focus()
    figure.page.keyboard.press("Control+d")
    assert description(figure, "The batch before") == seen[-1], "the key works inside the figure, and alone"
    figure.get_by_role("button", name="Reset").click()
    assert description(figure, "The batch before") == seen[0]


def test_y_sees_gamma_beta_and_eps_and_nothing_of_the_feature(opened: Opened) -> None:
    figure = opened("transform")

    def press(name: str, key: str) -> list[float]:
        figure.get_by_role("slider", name=name).press(key)
        return numbers(description(figure, "The same batch after it"))[1:]

    assert numbers(description(figure, "The same batch after it"))[1:] == [0, 1]
    assert press("feature's mean", "End") == [0, 1]
    assert press("feature's spread", "End") == [0, 1]
    assert press("shift beta", "End") == [3, 1]
    assert press("scale gamma", "Home") == [3, 2]
    mean, std = press("eps", "End")
    x_std = numbers(description(figure, "The batch before"))[2]
    assert mean == 3
    assert std == pytest.approx(2 * x_std / (x_std**2 + 10) ** 0.5, abs=0.01)


def part(figure: Locator, title: str) -> list[float]:
    return numbers(description(figure, title))


def shares(figure: Locator) -> list[float]:
    return part(figure, "Shares of the squared length of dy")


def test_dragging_a_bar_changes_dy_and_its_parts(opened: Opened) -> None:
    figure = opened("projections")
    bar = figure.get_by_role("slider", name="dy of example 6")
    before, mean = value(bar), part(figure, "mean of dy")
    box = bar.bounding_box()
    assert box is not None
    thumb = 7 + (before + 3) / 6 * (box["width"] - 14)
    mouse, middle = figure.page.mouse, box["y"] + box["height"] / 2
    mouse.move(box["x"] + thumb, middle)
    mouse.down()
    mouse.move(box["x"] + thumb - 30, middle, steps=5)
    mouse.up()
    moved = value(bar) - before
    assert moved == pytest.approx(-30 / (box["width"] - 14) * 6, abs=0.1)
    assert part(figure, "mean of dy")[0] == pytest.approx(mean[0] + moved / 6, abs=0.011)
    assert bar.get_attribute("aria-valuetext") == f"{value(bar):.2f}".replace("-", "−")


def test_a_bar_ends_under_its_handle_and_before_its_number(opened: Opened) -> None:
    """Catches a drawing and a slider that disagree about where a value lies."""
    figure = opened("projections", width="phone")
    rows = figure.locator(".figure-part-dy .figure-rows")
    for key, edge in (("End", "right"), ("Home", "left")):
        slider = figure.get_by_role("slider", name="dy of example 3")
        slider.press(key)
        track, bar = slider.bounding_box(), rows.locator("rect").nth(2).bounding_box()
        number = rows.locator("text[text-anchor=end]").nth(2).bounding_box()
        assert track is not None
        assert bar is not None
        assert number is not None
        if edge == "right":
            assert bar["x"] + bar["width"] == pytest.approx(track["x"] + track["width"] - 7, abs=0.5)
        else:
            assert bar["x"] == pytest.approx(track["x"] + 7, abs=0.5)
        assert track["x"] + track["width"] <= number["x"] + 0.5


def test_a_touch_on_a_bar_sets_it(opened: Opened) -> None:
    figure = opened("projections", width="phone", has_touch=True)
    bar = figure.get_by_role("slider", name="dy of example 2")
    bar.scroll_into_view_if_needed()
    box = bar.bounding_box()
    assert box is not None
    figure.page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert abs(value(bar)) <= 0.1


def test_the_parts_by_keyboard(opened: Opened) -> None:
    figure = opened("projections")
    spoken = figure.locator("[aria-live=polite]")
    said = spoken.text_content()
    bar = figure.get_by_role("slider", name="dy of example 1")
    bar.focus()
    before = value(bar)
    figure.page.keyboard.press("ArrowRight")
    assert value(bar) == pytest.approx(before + 0.1)
    figure.page.keyboard.press("Home")
    assert value(bar) == -3
    expect(spoken).not_to_have_text(said or "")
    gradient = [value(figure.get_by_role("slider", name=f"dy of example {row}")) for row in range(1, 7)]
    parts = [part(figure, title) for title in ("mean of dy", "along x_hat", "what remains")]
    for row, total in enumerate(gradient):
        assert sum(values[row] for values in parts) == pytest.approx(total, abs=0.016)
    figure.page.keyboard.press("Tab")
    expect(figure.get_by_role("slider", name="dy of example 2")).to_be_focused()


def test_what_has_nothing_to_pass_back_and_what_has(opened: Opened) -> None:
    figure = opened("projections")
    press = lambda name: figure.get_by_role("button", name=name).click()  # noqa: E731
    sums = figure.locator(".figure-sums")
    press("constant")
    assert shares(figure) == [100, 0, 0]
    press("along x_hat")
    assert shares(figure) == [0, 100, 0]
    figure.get_by_role("slider", name="x of example 2").press("Home")
    assert shares(figure)[2] > 0, "x_hat is another now"
    for _ in range(3):
        press("random")
        assert 0 < shares(figure)[2] <= 100
        assert sum(shares(figure)) == pytest.approx(100, abs=1)
        expect(sums).to_contain_text(re.compile(r"^Sum of the remainder: 0\.000\. .* with x_hat: 0\.000\."))
    press("Reset")
    assert shares(figure)[2] > 0


def test_of_two_examples_nothing_comes_back(opened: Opened) -> None:
    figure = opened("projections")
    figure.get_by_role("slider", name="batch size m").press("Home")
    expect(figure.get_by_role("slider")).to_have_count(5)
    for _ in range(3):
        figure.get_by_role("button", name="random").click()
        assert part(figure, "what remains") == [0, 0]
        assert shares(figure)[2] == 0


def choose(figure: Locator, **choices: str) -> None:
    for label, option in choices.items():
        figure.get_by_label(label.replace("_", " "), exact=True).select_option(option)


def times(figure: Locator) -> list[float]:
    """Return what memory, arithmetic and launches take."""
    return part(figure, "What the time is made of")[:2] + part(figure, "What the time is made of")[-1:]


def test_the_roofline_begins_with_the_packages_numbers(opened: Opened) -> None:
    """Catches tables of another build, and a drawing that says something else than the kernel's prediction."""
    figure = opened("roofline")
    kernel, shape, rates = "forward+add+relu", (256, 64, 56, 56), DEVICES["H100 SXM"]
    memory = bound(kernel, shape, rates.bandwidth, design="eager")
    arithmetic = 1e6 * flops_per_value(kernel) * math.prod(shape) / rates.flops
    assert times(figure) == [pytest.approx(memory, abs=0.051), pytest.approx(arithmetic, abs=0.051), 20]
    expect(figure.locator("strong")).to_have_text(f"At least {memory:.1f} µs: memory-bound")
    roof, ridge, at, reached = part(figure, "Roofline of the chosen GPU")
    assert (roof, ridge) == (rates.flops / 1e12, pytest.approx(rates.flops / rates.bandwidth, abs=0.051))
    assert at == pytest.approx(intensity(kernel, design="eager"), abs=0.006)
    assert reached == pytest.approx(at * rates.bandwidth / 1e12, rel=0.01)


def test_the_chapters_answers_about_the_roofline(opened: Opened) -> None:
    """What the chapter says a reader should have seen."""
    figure = opened("roofline")
    eager = times(figure)[0]
    choose(figure, GPU="H200 SXM")
    assert times(figure)[0] / eager == pytest.approx(0.7, abs=0.01)
    choose(figure, GPU="RTX 4090")
    assert times(figure)[0] / eager > 3
    choose(figure, GPU="H100 SXM", design="two-pass")
    assert times(figure)[0] / eager == pytest.approx(0.5, abs=0.01)
    size = figure.get_by_role("slider", name="examples N")
    for design in ("eager", "two-pass"):
        choose(figure, design=design)
        while "memory-bound" in (figure.locator("strong").text_content() or ""):
            size.press("ArrowLeft")
        expect(figure.locator("output").first).to_have_text("16")
        size.press("End")
    choose(figure, GPU="A100 80GB SXM", batch_norm="backward", followed_by="relu", design="on-chip")
    memory, arithmetic, _ = times(figure)
    assert 3 < memory / arithmetic < 4


def test_the_roofline_by_keyboard_and_by_ear(opened: Opened) -> None:
    figure = opened("roofline")
    spoken = figure.locator("[aria-live=polite]")
    said = spoken.text_content() or ""
    assert "256 by 64 by 56 by 56 values of bfloat16, on H100 SXM" in said
    dtype = figure.get_by_label("dtype", exact=True)
    dtype.focus()
    figure.page.keyboard.press("f")
    figure.page.keyboard.press("ArrowDown")
    expect(dtype).to_have_value("float32")
    expect(spoken).to_contain_text("values of float32")
    assert part(figure, "Roofline of the chosen GPU")[2] == pytest.approx(9 / 32, abs=0.006)
    figure.get_by_role("button", name="Reset").click()
    expect(spoken).to_have_text(said)


def test_the_largest_and_the_smallest_batch_fit_into_the_drawings(opened: Opened) -> None:
    """Catches a dot outside the axes, and bars whose numbers are cut off."""
    figure = opened("roofline", width="phone")
    choose(figure, GPU="L4", dtype="float32")
    for key in ("End", "Home"):
        for name in ("examples N", "channels C", "maps"):
            figure.get_by_role("slider", name=name).press(key)
        inside = figure.evaluate(
            """figure => [...figure.querySelectorAll("svg :is(text, .figure-kernel, rect)")].every((node) => {
              const [box, edge] = [node.getBoundingClientRect(), node.ownerSVGElement.getBoundingClientRect()];
              return box.left >= edge.left - 0.5 && box.right <= edge.right + 0.5
                && box.top >= edge.top - 0.5 && box.bottom <= edge.bottom + 0.5;
            })"""
        )
        assert inside, key


def test_the_figure_is_drawn_anew_when_the_window_is_turned(opened: Opened) -> None:
    figure = opened("projections")
    drawing = figure.get_by_role("img", name="what remains")
    wide = drawing.bounding_box()
    figure.page.set_viewport_size({"width": 390, "height": 900})
    figure.page.wait_for_timeout(100)
    narrow = drawing.bounding_box()
    assert wide is not None
    assert narrow is not None
    assert narrow["width"] < wide["width"]
    assert narrow["height"] == wide["height"]
    assert drawing.get_attribute("viewBox") == f"0 0 {round(narrow['width'])} {round(narrow['height'])}"


def test_pages_without_a_figure_load_none_of_it(browser: Browser, address: str) -> None:
    page = browser.new_page()
    asked: list[str] = []

    def note(route: Route) -> None:
        asked.append(route.request.url)
        route.continue_()

    page.route("**/figures/**", note)
    load(page, f"{address}/book/2_backprop/3_trusting_a_gradient.html")
    assert asked == []
    load(page, f"{address}/{PLACES['transform']}")
    # The figure's modules are asked for by a module: that the network was quiet once says nothing of them.
    expect(page.locator("#interactive-transform svg").first).to_be_visible()
    assert len(asked) >= 5
    page.close()


def load(page: Page, url: str) -> None:
    page.goto(url, wait_until="networkidle")


def test_gradients_are_the_recorded_ones(opened: Opened) -> None:
    """Catches a figure that shows another network's profile, and tables of another build."""
    figure = opened("gradients")
    recorded = {
        (each.network, each.norm, each.activation, each.depth): each for each in gradient_profiles.recorded().profiles
    }

    def multiplied() -> list[float]:
        return [10**mean for mean in (solid.mean[0], dashed.mean[0])]

    def shown() -> list[float]:
        said = re.findall(
            r"multiplied by ([\d.]+)(?:\s×\s10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+))?", description(figure, "Gradient by layer")
        )
        raised = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
        return [float(number) * 10 ** int(power.translate(raised) or 0) for number, power in said]

    solid, dashed = (recorded["residual, pre-activation", norm, "relu", 20] for norm in ("batch norm before", "none"))
    assert shown() == pytest.approx(multiplied(), rel=0.06)
    figure.get_by_label("solid: network").select_option("plain, layer norm after the activation")
    figure.get_by_label("dashed: network").select_option("residual, post-activation, layer norm")
    figure.get_by_label("dashed: activation").select_option("sigmoid")
    figure.get_by_label("hidden layers").select_option("40")
    solid = recorded["plain", "layer norm after", "relu", 40]
    dashed = recorded["residual, post-activation", "layer norm before", "sigmoid", 40]
    assert shown() == pytest.approx(multiplied(), rel=0.06)
    assert dashed.mean[0] < -10
    expect(figure.locator("[aria-live]")).to_contain_text("sigmoid")
    figure.get_by_role("button", name="Reset").click()
    expect(figure.get_by_label("dashed: network")).to_have_value("residual, pre-activation, none")


def test_the_line_of_a_network_falls_as_far_as_it_says(opened: Opened) -> None:
    """The drawn path ends at 1 on the right, and begins on the left at the factor on the axis of powers of ten."""
    figure = opened("gradients")
    path = figure.locator(".figure-first .figure-profile").get_attribute("d") or ""
    points = [tuple(map(float, point.split(" "))) for point in re.findall(r"[\d.]+ [\d.]+", path)]
    ticks = {
        label: float(figure.locator("svg text", has_text=re.compile(f"^{label}$")).first.get_attribute("y") or 0) - 4
        for label in ("10²", "10⁻¹")
    }
    assert len(points) == 20
    decade = (ticks["10⁻¹"] - ticks["10²"]) / 3
    profile = next(
        each
        for each in gradient_profiles.recorded().profiles
        if (each.network, each.norm, each.activation, each.depth)
        == ("residual, pre-activation", "batch norm before", "relu", 20)
    )
    assert points[-1][1] - points[0][1] == pytest.approx(profile.mean[0] * decade, abs=0.2)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_longest_name_fits_into_its_list(width: str, opened: Opened) -> None:
    """Catches two lists that show the same beginning of different networks."""
    figure = opened("gradients", width)
    cut = figure.evaluate(
        """figure => [...figure.querySelectorAll("select")].flatMap((list) => {
          const [style, pen] = [getComputedStyle(list), document.createElement("canvas").getContext("2d")];
          pen.font = style.font;
          const arrow = 24;
          return [...list.options].map((option) => option.text)
            .filter((text) => pen.measureText(text).width + arrow > list.clientWidth);
        })"""
    )
    assert cut == []
