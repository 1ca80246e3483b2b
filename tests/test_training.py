"""Laws of ``skbert._training``: epochs on tensors."""

import contextlib
import math
from itertools import product

import numpy as np
import pytest
import torch

from skbert._training import (
    AdamMoments,
    History,
    Monitor,
    Network,
    Part,
    Rows,
    Settings,
    Task,
    initialise,
    log_proba,
    train,
    train_together,
)
from skbert._training.gradients import Batch, Buffers, Masked, draw_masks, gradients, scale_of
from skbert._training.loop import _STACK_WEIGHTS
from skbert._training.rows import Draws, portions
from skbert._training.stack import Stack, scores

N, FEATURES, CLASSES = 60, 7, 3


def settings(**changes):
    """Return settings of a short training that is easy to follow."""
    defaults = {
        "batch_size": 16,
        "learning_rate": 1e-2,
        "weight_decay": 0.1,
        "dropout": 0.0,
        "max_epochs": 3,
    }
    return Settings(**(defaults | changes))


def make_part(n=N, seed=0, weight=None, dtype=torch.float32):
    """Return rows whose class depends on them, with some noise."""
    rng = np.random.RandomState(seed)
    X = rng.randn(n, FEATURES)
    y = (X[:, :CLASSES] + rng.randn(n, CLASSES)).argmax(axis=1)
    count = torch.ones(n)
    weight = count if weight is None else torch.as_tensor(weight, dtype=torch.float32)
    return Part(torch.from_numpy(X).to(dtype), torch.from_numpy(y), weight, count)


@contextlib.contextmanager
def _float64_by_default():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def assert_same(one, other, **tolerance):
    """Assert that two networks hold the same numbers."""
    for a, b in zip(one.tensors(), other.tensors(), strict=True):
        torch.testing.assert_close(a, b, **({"rtol": 0, "atol": 0} | tolerance))


def reference_training(network, part, chosen, draws):
    """Train one head by torch's own modules, autograd and AdamW, over the given draws of each epoch."""
    sizes = [network.weights[0].shape[1], *(w.shape[2] for w in network.weights)]
    layers = []
    for i in range(len(sizes) - 1):
        layer = torch.nn.utils.skip_init(torch.nn.Linear, sizes[i], sizes[i + 1])  # draws no random numbers
        layer.weight.data = network.weights[i][0].T.clone()
        layer.bias.data = network.biases[i][0, 0].clone()
        layers += [layer, torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    decayed = [p for p in model.parameters() if p.ndim == 2]
    other = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": chosen.weight_decay}, {"params": other, "weight_decay": 0.0}],
        lr=chosen.learning_rate,
    )
    curve = []
    for epoch in draws:
        total = 0.0
        for batch in epoch:
            losses = torch.nn.functional.cross_entropy(model(part.X[batch]), part.y[batch], reduction="none")
            loss = (losses * part.weight[batch]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(batch) / len(part.y)
        curve.append(total)
    linear = [layer for layer in model if isinstance(layer, torch.nn.Linear)]
    return Network([m.weight.detach().T[None] for m in linear], [m.bias.detach()[None, None] for m in linear]), curve


@pytest.mark.parametrize("hidden", [(), (11,), (11, 5)])
def test_training_equals_autograd_and_adamw_of_torch(hidden):
    """Without dropout, weights and losses are those of a plain loop over nn.Linear, cross_entropy and torch's AdamW."""
    weight = np.random.RandomState(1).uniform(0.6, 1.4, N)  # below 1.5 times the mean: each row is drawn once
    part = make_part(weight=weight / weight.mean())
    chosen = settings()
    network = initialise((FEATURES, *hidden, CLASSES), 1, seed=0)
    start = network.copy()
    history = train(network, part, None, chosen, seed=5)

    order = torch.Generator().manual_seed(5)
    draws = [torch.randperm(N, generator=order).split(15) for _ in range(3)]  # 60 rows in 4 batches of at most 16
    expected, curve = reference_training(start, part, chosen, draws)
    assert_same(network, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(history.loss, curve, rtol=1e-5)


def test_gradients_under_dropout_are_those_of_autograd():
    """With masks, the written-out backward pass equals autograd through the same masks, on two mini-batches."""
    parts, dropouts, n_rows = (make_part(20), make_part(20, seed=4)), (0.4, 0.0, 0.7), (20, 13)
    network = initialise((FEATURES, 6, 5, CLASSES), 6, seed=3)  # three tasks of two heads; the third has other rows
    weights = [part.weight.clone() for part in parts]
    weights[1][13:] = 0  # a mini-batch that is filled up
    batches = [
        (heads, Batch(part.X, part.y, weight, n))
        for heads, part, weight, n in zip((slice(0, 4), slice(4, 6)), parts, weights, n_rows, strict=True)
    ]
    generators = [torch.Generator().manual_seed(seed) for seed in (9, 10)]
    masked = [
        Masked(slice(2 * k, 2 * k + 2), dropout, 2, generators[k // 2], n_rows[k // 2])
        for k, dropout in enumerate(dropouts)
    ]
    rescale = torch.tensor([scale_of(dropout) for dropout in dropouts for _ in range(2)]).view(-1, 1, 1)
    found = network.zeros()
    with torch.no_grad():
        losses = gradients(network, batches, masked, rescale, found, Buffers(network.weights[0]))

    for tensor in network.tensors():
        tensor.requires_grad_()
    masks = {}
    for k, units in product((0, 1), (6, 5)):
        generator = generators[k] if units == 5 else generators[k].manual_seed(9 + k)
        masks[k, units] = draw_masks((2, n_rows[k], units), dropouts[2 * k :][:2], generator)
    expected, total = [], 0.0
    for task in range(3):
        k = task // 2
        for head in range(2):
            a = parts[k].X[: n_rows[k]]
            for w, b in zip(network.weights[:-1], network.biases[:-1], strict=True):
                a = (a @ w[2 * task + head] + b[2 * task + head]).relu()
                mask = masks[k, a.shape[1]][task % 2]
                a = a if mask is None else a * mask[head]
            logits = a @ network.weights[-1][2 * task + head] + network.biases[-1][2 * task + head]
            loss = torch.nn.functional.cross_entropy(logits, parts[k].y[: n_rows[k]])
            expected.append(float(loss.detach()) * n_rows[k])
            total = total + loss
    total.backward()
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    for tensor, gradient in zip(network.tensors(), found.tensors(), strict=True):
        torch.testing.assert_close(gradient, tensor.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dropout", [0.1, 0.5, 0.9])
def test_masks_leave_out_their_share_and_make_up_for_it(dropout):
    """A mask is 0 or one other value; its mean is 1, and the share of zeros is the dropout, within their noise."""
    (mask,) = draw_masks((4, 200, 101), [dropout], torch.Generator().manual_seed(0))
    values = mask.unique().tolist()
    assert values == [0.0, pytest.approx(1 / (1 - dropout), rel=1e-3)]
    deviation = math.sqrt(dropout * (1 - dropout) / mask.numel())
    assert (mask == 0).float().mean().item() == pytest.approx(dropout, abs=4 * deviation)
    rows = (mask == 0).float().mean(dim=(0, 1))  # each of four units comes from one of the four parts of a number
    assert rows.std().item() < 2 * math.sqrt(dropout * (1 - dropout) / 800)


@pytest.mark.parametrize("dropout", [1e-9, 1e-6, 1e-5])
def test_a_dropout_that_is_nearly_none_leaves_nearly_all(dropout):
    """At the end of what 16 bits can say, too."""
    (mask,) = draw_masks((1, 300, 300), [dropout], torch.Generator().manual_seed(0))
    assert (mask != 0).float().mean().item() > 0.9998


def test_masks_of_several_dropouts_come_from_the_same_numbers():
    """Who is left out at 0.3 is so at 0.6, and a task's masks do not depend on the dropouts beside it."""

    def draw(*dropouts):
        return draw_masks((2, 30, 7), dropouts, torch.Generator().manual_seed(1))

    few, none, many = draw(0.3, 0.0, 0.6)
    assert none is None
    assert not ((few == 0) & (many != 0)).any()
    assert torch.equal(draw(0.6)[0], many)


def test_heads_trained_together_are_those_trained_singly():
    """A head's weights do not depend on the heads beside it."""
    part, sizes = make_part(), (FEATURES, 9, CLASSES)
    together = initialise(sizes, 3, seed=0)
    single = [
        Network([w[k : k + 1].clone() for w in together.weights], [b[k : k + 1].clone() for b in together.biases])
        for k in range(3)
    ]
    train(together, part, None, settings(), seed=1)
    for head, network in enumerate(single):
        train(network, part, None, settings(), seed=1)
        for a, b in zip(together.tensors(), network.tensors(), strict=True):
            torch.testing.assert_close(a[head], b[0], rtol=1e-5, atol=1e-6)


def test_first_heads_do_not_depend_on_how_many_follow():
    """The initial weights of head k are the same in an ensemble of any size, and differ from those of the others."""
    few, many = initialise((4, 5, 2), 2, seed=0), initialise((4, 5, 2), 6, seed=0)
    for a, b in zip(few.weights, many.weights, strict=True):
        torch.testing.assert_close(a, b[:2], rtol=0, atol=0)
    assert not torch.equal(many.weights[0][0], many.weights[0][1])


def test_initial_weights_have_the_spread_of_he():
    """Hidden layers have the variance 2 / n_in, the last one a hundredth of 1 / n_in; biases are zero."""
    network = initialise((400, 500, 300), 2, seed=0)
    assert network.weights[0].std().item() == pytest.approx(math.sqrt(2 / 400), rel=0.02)
    assert network.weights[1].std().item() == pytest.approx(0.1 * math.sqrt(1 / 500), rel=0.02)
    assert not any(bias.any() for bias in network.biases)


def test_each_head_has_dropout_masks_of_its_own():
    """Two heads that start from the same weights part ways under dropout, and do not without it."""
    for dropout, same in ((0.5, False), (0.0, True)):
        network = initialise((FEATURES, 9, CLASSES), 1, seed=0)
        twins = Network([w.repeat(2, 1, 1) for w in network.weights], [b.repeat(2, 1, 1) for b in network.biases])
        train(twins, make_part(), None, settings(dropout=dropout), seed=0)
        assert torch.allclose(twins.weights[0][0], twins.weights[0][1], atol=1e-6) is same


def test_probabilities_of_heads_are_averaged():
    """log_proba is the logarithm of the mean of the heads' softmax."""
    part, network = make_part(), initialise((FEATURES, 9, CLASSES), 4, seed=0)
    hidden = torch.relu(torch.einsum("nd,hdu->hnu", part.X, network.weights[0]) + network.biases[0])
    logits = torch.einsum("hnu,huk->hnk", hidden, network.weights[1]) + network.biases[1]
    torch.testing.assert_close(log_proba(network, part.X), logits.softmax(2).mean(0).log())


def test_long_forward_is_done_in_pieces(monkeypatch):
    """Pieces of rows give the same probabilities as all rows at once."""
    part, network = make_part(), initialise((FEATURES, 9, CLASSES), 2, seed=0)
    whole = log_proba(network, part.X)
    monkeypatch.setattr("skbert._training.network._FORWARD_NUMBERS", 100)
    torch.testing.assert_close(log_proba(network, part.X), whole)


def test_same_seed_gives_the_same_weights_to_the_bit():
    """Two trainings with one seed are equal, with another seed they differ."""
    results = []
    for seed in (0, 0, 1):
        network = initialise((FEATURES, 9, CLASSES), 2, seed=0)
        train(network, make_part(), make_part(20, seed=1), settings(dropout=0.3), seed=seed)
        results.append(network)
    assert_same(results[0], results[1])
    assert not torch.equal(results[0].weights[0], results[2].weights[0])


@pytest.mark.parametrize(
    "mode",
    [
        lambda: torch.device("meta"),
        lambda: torch.autocast("cpu", torch.bfloat16),
        torch.inference_mode,
        _float64_by_default,
    ],
    ids=["device", "autocast", "inference", "dtype"],
)
def test_the_users_modes_of_torch_change_nothing(mode):
    """Within them, training gives the same bits."""
    networks = []
    for surrounding in (contextlib.nullcontext, mode):
        part, validation = make_part(), make_part(40, seed=1)
        with surrounding():
            network = initialise((FEATURES, 9, CLASSES), 2, seed=0)
            chosen = settings(dropout=0.5, averaging=2.0)
            history = train(network, part, validation, chosen, seed=0)
            networks.append((network, history, log_proba(network, validation.X)))
    (one, first, log_p), (other, second, also) = networks
    assert_same(one, other)
    assert first == second
    assert torch.equal(log_p, also)


def test_global_state_of_torch_is_left_alone():
    """Neither the global generators, nor the number of threads, nor grad mode change."""
    before = torch.get_rng_state(), torch.get_num_threads(), torch.is_grad_enabled(), torch.initial_seed()
    network = initialise((FEATURES, 9, CLASSES), 2, seed=0)
    train(network, make_part(), make_part(20, seed=1), settings(dropout=0.5), seed=0)
    after = torch.get_rng_state(), torch.get_num_threads(), torch.is_grad_enabled(), torch.initial_seed()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_best_weights_are_those_of_the_least_validation_loss():
    """What is left after the training gives the least validation loss of the curve, and its accuracy."""
    validation = make_part(40, seed=1)
    network = initialise((FEATURES, 30, CLASSES), 1, seed=0)
    history = train(network, make_part(), validation, settings(max_epochs=40, patience=8, weight_decay=0.0), seed=0)
    assert len(history.validation_loss) == len(history.loss) == len(history.validation_accuracy) < 40
    assert history.best_epoch == np.argmin(history.validation_loss) + 1 < len(history.loss)
    log_p = log_proba(network, validation.X)
    loss = torch.nn.functional.nll_loss(log_p, validation.y).item()
    assert loss == pytest.approx(min(history.validation_loss), rel=1e-6)
    accuracy = (log_p.argmax(1) == validation.y).float().mean().item()
    assert accuracy == pytest.approx(history.validation_accuracy[history.best_epoch - 1])


def test_patience_counts_epochs_without_gain():
    """Training stops after `patience` epochs in a row that gain no more than `tol` on the last real gain."""
    validation = make_part(40, seed=1)
    for patience, tol in ((1, 0.0), (3, 0.0), (3, 0.05), (6, 0.01)):
        network = initialise((FEATURES, 30, CLASSES), 1, seed=0)
        history = train(network, make_part(), validation, settings(max_epochs=60, patience=patience, tol=tol), seed=0)
        reference, waited = math.inf, 0
        for epoch, loss in enumerate(history.validation_loss, 1):
            waited, reference = (0, loss) if loss < reference - tol else (waited + 1, reference)
            assert (waited >= patience) == (epoch == len(history.validation_loss))


def test_validation_loss_is_weighted_and_accuracy_by_tally():
    """The loss goes by `weight`, the accuracy by `tally`, and neither by its scale."""
    part, network = make_part(), initialise((FEATURES, 9, CLASSES), 1, seed=0)
    weight, count = torch.rand(N) + 0.1, torch.randint(1, 5, (N,)).float()
    ((loss, accuracy),) = scores(network, part._replace(weight=weight * 7, tally=count * 3), 1).tolist()
    log_p = log_proba(network, part.X)
    nll = torch.nn.functional.nll_loss(log_p, part.y, reduction="none")
    assert loss == pytest.approx(((nll * weight).sum() / weight.sum()).item(), rel=1e-5)
    assert accuracy == pytest.approx((((log_p.argmax(1) == part.y) * count).sum() / count.sum()).item())


def test_scale_of_the_weights_does_not_matter():
    """Weights times a power of two give the same network, to the bit."""
    weight = np.random.RandomState(0).randint(1, 5, N)
    networks = []
    for factor in (1.0, 8.0):
        networks.append(initialise((FEATURES, 9, CLASSES), 1, seed=0))
        train(networks[-1], make_part(weight=weight * factor), None, settings(dropout=0.2), seed=0)
    assert_same(*networks)


def test_heavy_rows_are_drawn_in_portions():
    """A row's portions add up to its weight, none is much above the mean, and there are at most twice as many."""
    weight = torch.tensor([1.0, 1.0, 2.0, 90.0, 0.01, 3.0])
    row, share = portions(weight)
    total = torch.zeros(6).index_add_(0, row, share)
    torch.testing.assert_close(total / total.sum(), weight / weight.sum())
    assert share.mean().item() == pytest.approx(1.0)
    assert (share / (len(row) / len(weight))).max() <= 1.5
    assert len(row) <= 2 * len(weight)


@pytest.mark.parametrize(("n", "sizes"), [(16, [16]), (17, [9, 8]), (33, [11, 11, 11]), (5, [5])])
def test_batches_are_even_and_never_larger_than_asked(n, sizes):
    """Rows are spread evenly, so that no step is made for a handful of rows."""
    draws = Draws(Rows(make_part(n), None, 0), 16)
    draws.shuffle()
    assert draws.sizes() == sizes
    assert [len(draws.batch(k, sizes[k]).y) for k in range(draws.n_batches)] == sizes


def test_every_row_is_seen_once_an_epoch_in_another_order():
    """An epoch is a permutation of the rows, a new one each time."""
    part, seen = make_part(20), []
    draws = Draws(Rows(part, None, 0), 7)
    for _ in range(2):
        draws.shuffle()
        seen.append(torch.cat([draws.batch(k, size).X for k, size in enumerate(draws.sizes())]))
    assert not torch.equal(seen[0], seen[1])
    for X in seen:
        assert torch.equal(X.sort(0).values, part.X.sort(0).values)


def test_a_batch_is_filled_up_with_rows_of_weight_zero():
    """What fills up a mini-batch has no weight, and does not count as a row of it."""
    draws = Draws(Rows(make_part(10), None, 0), 4)
    draws.shuffle()
    batch = draws.batch(2, 6)
    assert (draws.sizes()[2], batch.n_rows, len(batch.X)) == (2, 2, 6)
    assert batch.weight.tolist()[2:] == [0.0] * 4


def test_training_in_two_calls_with_the_optimisers_memory():
    """With its memory passed on, AdamW goes on; one full batch makes the order of rows irrelevant."""
    whole, halves = (initialise((FEATURES, 9, CLASSES), 1, seed=0) for _ in range(2))
    train(whole, make_part(), None, settings(max_epochs=4, batch_size=N), seed=0)
    memory = AdamMoments.zeros(halves)
    for seed in (1, 2):
        train(halves, make_part(), None, settings(max_epochs=2, batch_size=N), seed=seed, moments=memory)
    assert memory.steps == 4
    assert_same(whole, halves, rtol=1e-4, atol=1e-5)


def test_average_is_the_fading_mean_of_the_weights_of_all_steps():
    """What is kept is the plain mean over the first steps, and fades over `averaging` epochs after them."""
    part, start = make_part(), initialise((FEATURES, 9, CLASSES), 2, seed=0)
    stepwise, averaged, memory = start.copy(), start.copy(), AdamMoments.zeros(start)
    expected = start.copy()
    for step in range(1, 6):  # an epoch is one full batch, so that an epoch a call is a step a call
        train(stepwise, part, None, settings(max_epochs=1, batch_size=N), seed=0, moments=memory)
        for mean, new in zip(expected.tensors(), stepwise.tensors(), strict=True):
            mean += (new - mean) / min(step, 3)
    train(averaged, part, None, settings(max_epochs=5, batch_size=N, averaging=3.0), seed=0)
    assert_same(averaged, expected, rtol=1e-4, atol=1e-5)


def test_average_is_what_is_validated_and_kept():
    """With averaging, the validation loss of the best epoch is that of the weights that are left."""
    validation, network = make_part(40, seed=1), initialise((FEATURES, 30, CLASSES), 1, seed=0)
    history = train(network, make_part(), validation, settings(max_epochs=30, averaging=2.0, patience=3), seed=0)
    loss = torch.nn.functional.nll_loss(log_proba(network, validation.X), validation.y).item()
    assert loss == pytest.approx(min(history.validation_loss), rel=1e-6)


def interrupt_after(n_epochs):
    """Return a monitor that presses Ctrl-C after `n_epochs` epochs."""

    class Interrupt(Monitor):
        def end_epoch(self, history, network):
            if len(history.loss) == n_epochs:
                raise KeyboardInterrupt
            return False

    return Interrupt()


def test_interrupt_keeps_the_best_weights_so_far():
    """After Ctrl-C the network has the weights of the best epoch, as if it had been stopped by itself."""
    part, validation = make_part(), make_part(40, seed=1)
    stopped, expected = (initialise((FEATURES, 9, CLASSES), 1, seed=0) for _ in range(2))
    history = train(stopped, part, validation, settings(max_epochs=50), seed=0, monitor=interrupt_after(4))
    assert history.interrupted
    assert len(history.loss) == 4
    train(expected, part, validation, settings(max_epochs=4), seed=0)
    assert_same(stopped, expected)


def test_interrupt_in_the_first_epoch_leaves_finite_weights(monkeypatch):
    """Ctrl-C before an epoch is over gives empty curves and weights that can be used."""

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(Stack, "epoch", interrupt)
    network = initialise((FEATURES, 9, CLASSES), 1, seed=0)
    history = train(network, make_part(), None, settings(), seed=0)
    assert history == History(interrupted=True)
    assert all(tensor.isfinite().all() for tensor in network.tensors())


def test_loss_that_is_not_finite_ends_the_training():
    """A NaN ends the training; an earlier good epoch is restored, and without one best_epoch is 0."""
    part = make_part()
    spoiled = part._replace(X=part.X.clone().fill_(math.nan))
    network = initialise((FEATURES, 9, CLASSES), 1, seed=0)
    history = train(network, spoiled, part, settings(), seed=0)
    assert (history.diverged, history.best_epoch, history.loss) == (True, 0, [])

    class Spoil(Monitor):
        def end_epoch(self, history, network):
            part.X.fill_(math.nan)
            return False

    validation = make_part(40, seed=1)
    network = initialise((FEATURES, 9, CLASSES), 1, seed=0)
    history = train(network, part, validation, settings(), seed=0, monitor=Spoil())
    assert (history.diverged, history.best_epoch, len(history.loss)) == (True, 1, 1)
    assert all(tensor.isfinite().all() for tensor in network.tensors())


def test_a_monitor_can_stop_the_training_and_sees_what_is_kept():
    """It is told before and after each epoch, sees the weights that are validated, and its wish to stop is heeded."""

    class Stop(Monitor):
        begun, losses = 0, []

        def begin_epoch(self):
            self.begun += 1

        def end_epoch(self, history, network):
            loss = torch.nn.functional.nll_loss(log_proba(network, validation.X), validation.y).item()
            self.losses.append(loss)
            return len(self.losses) == 3

    part, validation = make_part(), make_part(40, seed=1)
    stopped, expected = (initialise((FEATURES, 9, CLASSES), 1, seed=0) for _ in range(2))
    monitor = Stop()
    history = train(stopped, part, validation, settings(max_epochs=50, averaging=2.0), seed=0, monitor=monitor)
    assert (monitor.begun, len(history.loss)) == (3, 3)
    assert monitor.losses == pytest.approx(history.validation_loss, rel=1e-5)
    train(expected, part, validation, settings(max_epochs=3, averaging=2.0), seed=0)
    assert_same(stopped, expected)


# ---- many tasks at once --------------------------------------------------------------------------------------------

SOME_SETTINGS = [
    {"dropout": dropout, "learning_rate": rate, "weight_decay": decay, "max_epochs": epochs, "averaging": 2.0}
    for dropout, rate, decay, epochs in (
        (0.5, 1e-2, 0.1, 40),
        (0.0, 1e-2, 0.1, 40),
        (0.5, 3e-2, 0.1, 3),
        (0.2, 1e-3, 5.0, 40),
        (0.5, 1e-2, 2.0, 7),
    )
]


def make_tasks(folds, n_heads=1, hidden=(9,)):
    """Return a task for each setting on each fold, all from the same initial weights; settings vary fastest."""
    return [
        Task(initialise((FEATURES, *hidden, CLASSES), n_heads, seed=0), rows, settings(patience=2, **changes))
        for rows in folds
        for changes in SOME_SETTINGS
    ]


def make_folds(*sizes):
    """Return rows of these sizes."""
    return [Rows(make_part(n, seed=k), make_part(40, seed=10 + k), seed=k) for k, n in enumerate(sizes)]


@pytest.mark.parametrize("n_heads", [1, 3])
@pytest.mark.parametrize("hidden", [(), (20,), (9, 5)])
@pytest.mark.parametrize("sizes", [(N,), (61, 58, 64), (61, 90)])
def test_tasks_trained_together_are_those_trained_singly(sizes, hidden, n_heads):
    """Each has the curves, the end and the weights that it has by itself: of one fold, of like and of unlike ones."""
    tasks = make_tasks(make_folds(*sizes), n_heads, hidden)
    singly = [task.network.copy() for task in tasks]
    train_together(tasks)
    for task, network in zip(tasks, singly, strict=True):
        rows = task.rows
        history = train(network, rows.training, rows.validation, task.settings, seed=rows.seed)
        assert (task.history.best_epoch, len(task.history.loss)) == (history.best_epoch, len(history.loss))
        np.testing.assert_allclose(task.history.loss, history.loss, rtol=1e-4)
        np.testing.assert_allclose(task.history.validation_loss, history.validation_loss, rtol=1e-4)
        assert_same(task.network, network, rtol=1e-3, atol=1e-4)
    assert len({len(task.history.loss) for task in tasks}) > 1  # they ended at different times


def test_a_stack_is_split_where_it_would_be_too_large(monkeypatch):
    """In parts or at once, the outcome is the same."""
    whole, parts = make_tasks(make_folds(61, 58)), make_tasks(make_folds(61, 58))
    train_together(whole)
    monkeypatch.setitem(_STACK_WEIGHTS, "cpu", 350)  # of 102 weights and biases each
    train_together(parts)
    for a, b in zip(whole, parts, strict=True):
        assert_same(a.network, b.network, rtol=1e-4, atol=1e-5)


def test_one_task_that_diverges_leaves_the_others_alone():
    """It ends without an epoch, and the others are what they are without it."""
    (rows,) = make_folds(N)
    bad = Task(initialise((FEATURES, 9, CLASSES), 1, seed=0), rows, settings(learning_rate=1e30, averaging=2.0))
    tasks, alone = make_tasks([rows]), make_tasks([rows])
    train_together([*tasks[:2], bad, *tasks[2:]])
    assert bad.history.diverged
    train_together(alone)
    for a, b in zip(tasks, alone, strict=True):
        assert_same(a.network, b.network, rtol=1e-4, atol=1e-5)


def test_an_interrupt_ends_all_tasks_that_are_not_over(monkeypatch):
    """Those that were over are as they were; the others, also those that had not begun, are marked."""
    monkeypatch.setitem(_STACK_WEIGHTS, "cpu", 5 * 102)  # two stacks
    tasks = make_tasks(make_folds(N, N))
    tasks[0].monitor = interrupt_after(4)
    train_together(tasks)
    assert [task.history.interrupted for task in tasks] == [True, True, False, True, True] + [True] * 5
    assert [len(task.history.loss) for task in tasks[5:]] == [0] * 5
    assert all(tensor.isfinite().all() for task in tasks for tensor in task.network.tensors())


@pytest.mark.gpu
def test_training_on_a_gpu_is_that_on_a_cpu():
    """With one full batch and no dropout, the generators' streams do not matter, and CPU and GPU agree."""
    networks = []
    for device in ("cpu", "cuda"):
        part = Part(*(tensor.to(device) for tensor in make_part()))
        drawn = initialise((FEATURES, 9, CLASSES), 2, seed=0)
        network = Network([w.to(device) for w in drawn.weights], [b.to(device) for b in drawn.biases])
        train(network, part, part, settings(batch_size=N), seed=0)
        networks.append(Network([w.cpu() for w in network.weights], [b.cpu() for b in network.biases]))
    assert_same(*networks, rtol=1e-3, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("hidden", [(), (20,), (9, 5)])
def test_tasks_on_a_gpu_are_those_trained_singly_there(hidden):
    """Masks, order and end of each task are its own on a GPU as well."""
    folds = [
        Rows(*(Part(*(tensor.cuda() for tensor in part)) for part in rows[:2]), rows.seed)
        for rows in make_folds(61, 58, 64)
    ]
    tasks = make_tasks(folds, 2, hidden)
    for task in tasks:
        task.network = Network([w.cuda() for w in task.network.weights], [b.cuda() for b in task.network.biases])
    singly = [task.network.copy() for task in tasks]
    train_together(tasks)
    for task, network in zip(tasks, singly, strict=True):
        rows = task.rows
        history = train(network, rows.training, rows.validation, task.settings, seed=rows.seed)
        np.testing.assert_allclose(task.history.validation_loss, history.validation_loss, rtol=1e-3)
        assert_same(task.network, network, rtol=1e-2, atol=1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("dropout", [0.1, 0.5, 0.9])
def test_masks_on_a_gpu_leave_out_their_share(dropout):
    """The 16 bits that decide on a unit are as even there as on a CPU."""
    (mask,) = draw_masks((4, 200, 101), [dropout], torch.Generator("cuda").manual_seed(0))
    deviation = math.sqrt(dropout * (1 - dropout) / mask.numel())
    assert (mask == 0).float().mean().item() == pytest.approx(dropout, abs=4 * deviation)
