from fastapi import APIRouter

router = APIRouter(tags=["archive"])
