#!/bin/bash
# sbatch examples/slurm.sh folder --data.path photos --out runs/photos
#
# One task a GPU, started by Slurm itself: so its signal reaches each, which a torchrun in between
# would die of. The folder of --out must lie where all nodes see it.
#SBATCH --job-name=patch-forcing
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append

export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export MASTER_PORT=$((20000 + SLURM_JOB_ID % 10000))
export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK

srun --kill-on-bad-exit=0 --wait=60 bash -c '
    export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID WORLD_SIZE=$SLURM_NTASKS
    exec python -m patch_forcing train "$@"' train "$@"
status=$?
# 130: the time was nearly up and all is saved; the same job goes on from there
if [ $status = 130 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit $status
