#!/bin/bash
# Train on two machines with four GPUs each: eight processes of one training. No Ray: Accelerate over torchrun.
#   sbatch slurm_train.sh
# train.batch_size counts the images of all eight. All machines read the same data and write to the same `runs`; the
# first process alone writes. After a stop: the same line with --resume two-machines.
#SBATCH --job-name=sslmask-train
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --gres=gpu:4
#SBATCH --mem=128G
#SBATCH --time=12:00:00
set -euo pipefail
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export first
srun bash -c 'torchrun --nnodes 2 --node-rank "$SLURM_NODEID" --nproc-per-node 4 --master-addr "$first" \
  --master-port 29500 -m ssl_mask train --config gpu --data faces --name two-machines'
