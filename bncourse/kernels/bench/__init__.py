"""The race: our kernels against every peer, over a suite of shapes, on the GPU of this machine.

    bncourse bench kernels --quick
    bncourse bench kernels --minutes 9 --output results

Every peer is checked against float64 before it is timed, and a row is written once it is measured: run the command
again, and it goes on. One that fails or takes the process down is recorded as failed, and the others go on without it.
Reading results (:mod:`~bncourse.kernels.bench.report`) needs no torch.
"""
