#!/bin/bash
# A Ray cluster for the time of one job: four machines embed, compare and predict for one command each.
#   sbatch slurm_ray.sh
# A command that was stopped goes on where it was when it is given again. SSLMASK_CACHE names a cache that all machines
# share; with a cache on each machine's own disk the results are the same, but embeddings start anew.
#SBATCH --job-name=sslmask-ray
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gres=gpu:1
#SBATCH --mem=64G
#SBATCH --time=08:00:00
set -euo pipefail
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun --nodes=1 --ntasks=1 --nodelist="$head" ray start --head --port=6379 --block &
sleep 30
srun --nodes="$((SLURM_JOB_NUM_NODES - 1))" --exclude="$head" ray start --address="$head:6379" --block &
sleep 30
export RAY_ADDRESS="$head:6379" SSLMASK_CACHE="$PWD/cache"
export OMP_NUM_THREADS=4  # cores of each process that predicts without a GPU
sslmask audit --unlabeled pool.csv --drop-list drop.csv --engine ray || [ $? = 4 ]  # 4: it overlaps, see drop.csv
sslmask predict --run train-001 --images pool.csv --on-bad skip --shard all/100 --out parts --engine ray
sslmask embed --run train-001 --images pool.csv --out pool.parquet --engine ray
